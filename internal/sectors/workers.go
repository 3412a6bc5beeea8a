package sectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

// Live workers share one hash tag, so that one script can see all that a newcomer
// may collide with. Every key but the set of names ends by itself.
const (
	workersKey  = "lpseal:{workers}"
	drainingKey = "lpseal:draining"
)

func workerKey(name string) string      { return workersKey + ":" + name }
func hostKey(host string) string        { return workersKey + ":host:" + host }
func deviceKey(host, dev string) string { return workersKey + ":gpu:" + host + "/" + dev }
func sealingPathKey(path string) string { return workersKey + ":path:" + path }

// announceScript puts a worker among the live ones, or answers what it collides
// with: kind, thing, holder.
//
//	KEYS names, worker, host, then a key for each GPU device, then for each path
//	ARGV name, owner, host, boot, ttl (ms), worker as JSON, number of devices
var announceScript = redis.NewScript(`
local name, owner, host, boot, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local function holder(key)
  local v = redis.call('GET', key)
  return v and v ~= '' and v or nil
end
local other = holder(KEYS[2])
if other then
  local w = cjson.decode(other)
  if w.host .. '/' .. w.instance .. '@' .. w.run ~= owner then return {'instance', name, other} end
end
local machine = holder(KEYS[3])
if machine and boot ~= '' and machine ~= boot then return {'host', host, machine} end
local gpus = 3 + tonumber(ARGV[7])
for i = 4, #KEYS do
  local by = holder(KEYS[i])
  if i <= gpus then
    if by and by ~= owner then return {'gpu', KEYS[i], by} end
  elseif by and by ~= host then
    return {'path', KEYS[i], by}
  end
end
redis.call('SADD', KEYS[1], name)
redis.call('SET', KEYS[2], ARGV[6], 'PX', ttl)
if boot ~= '' then redis.call('SET', KEYS[3], boot, 'PX', ttl) end
for i = 4, #KEYS do
  redis.call('SET', KEYS[i], i <= gpus and owner or host, 'PX', ttl)
end
return {}
`)

// leaveScript takes a worker and its devices away if they are still its own.
//
//	KEYS names, worker, devices…
//	ARGV name, owner
var leaveScript = redis.NewScript(`
local mine = redis.call('GET', KEYS[2])
if mine then
  local w = cjson.decode(mine)
  if w.host .. '/' .. w.instance .. '@' .. w.run == ARGV[2] then
    redis.call('DEL', KEYS[2])
    redis.call('SREM', KEYS[1], ARGV[1])
  end
end
for i = 3, #KEYS do
  if redis.call('GET', KEYS[i]) == ARGV[2] then redis.call('DEL', KEYS[i]) end
end
return 1
`)

// InstanceTakenError says: another live process has the same host and instance.
type InstanceTakenError struct{ Other jobs.Worker }

func (e *InstanceTakenError) Error() string {
	return fmt.Sprintf("worker %s is running already (pid %d, boot %s): give this one another instance name, or stop the other one",
		e.Other.Name(), e.Other.PID, e.Other.Boot)
}

// HostTakenError says: another machine goes by the same host id.
type HostTakenError struct{ Host, Boot string }

func (e *HostTakenError) Error() string {
	return fmt.Sprintf("host id %s is in use by another machine (boot %s): give every machine its own host.id; after a restart of this machine, wait until the old heartbeat ends", e.Host, e.Boot)
}

// DeviceTakenError says: a GPU of the host is given to two lanes.
type DeviceTakenError struct{ Host, Device, Other string }

func (e *DeviceTakenError) Error() string {
	return fmt.Sprintf("GPU %s of host %s is given twice, here and to %s: name it in one lane only", e.Device, e.Host, e.Other)
}

// PathTakenError says: a sealing path is served by two hosts.
type PathTakenError struct{ Path, Host, Other string }

func (e *PathTakenError) Error() string {
	return fmt.Sprintf("sealing path %s is served by host %s already, and %s cannot seal on it too: detach it from one of them (sealing needs a local disk)", e.Path, e.Other, e.Host)
}

// Collides says that Join or Beat refused a worker because another live one has what it was
// given.
func Collides(err error) bool {
	var (
		instance *InstanceTakenError
		host     *HostTakenError
		device   *DeviceTakenError
		path     *PathTakenError
	)
	return errors.As(err, &instance) || errors.As(err, &host) || errors.As(err, &device) || errors.As(err, &path)
}

// Join puts a worker among the live ones for ttl, unless it collides with one of
// them (design rule 9): the errors are [*InstanceTakenError], [*HostTakenError],
// [*DeviceTakenError] and [*PathTakenError], see [Collides]. A worker that was killed stays live
// until its ttl ends; who knows better may [Store.Leave] for it.
func (s *Store) Join(ctx context.Context, w jobs.Worker, ttl time.Duration) error {
	devices, err := devicesOf(w)
	if err != nil {
		return fmt.Errorf("join %s: %w", w.Name(), err)
	}
	text, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("join %s: %w", w.Name(), err)
	}
	keys := []string{workersKey, workerKey(w.Name()), hostKey(w.Host)}
	for _, device := range devices {
		keys = append(keys, deviceKey(w.Host, device))
	}
	for _, path := range w.Paths {
		if path.CanSeal {
			keys = append(keys, sealingPathKey(path.ID))
		}
	}
	answer, err := certain(ctx, func() ([]string, error) {
		return announceScript.Run(ctx, s.rdb, keys,
			w.Name(), w.Owner(), w.Host, w.Boot, ttl.Milliseconds(), text, len(devices)).StringSlice()
	})
	if err != nil {
		return fmt.Errorf("join %s: %w", w.Name(), err)
	}
	if len(answer) == 0 {
		return nil
	}
	return fmt.Errorf("join %s: %w", w.Name(), collision(w, answer[0], answer[1], answer[2]))
}

// Beat keeps a worker among the live ones, with what changed about it. It refuses
// what Join refuses: another process may have taken its place meanwhile.
func (s *Store) Beat(ctx context.Context, w jobs.Worker, ttl time.Duration) error {
	return s.Join(ctx, w, ttl)
}

func collision(w jobs.Worker, kind, thing, holder string) error {
	switch kind {
	case "instance":
		var other jobs.Worker
		if err := json.Unmarshal([]byte(holder), &other); err != nil {
			return fmt.Errorf("heartbeat of %s: %w", thing, err)
		}
		return &InstanceTakenError{other}
	case "host":
		return &HostTakenError{thing, holder}
	case "gpu":
		return &DeviceTakenError{w.Host, strings.TrimPrefix(thing, deviceKey(w.Host, "")), holder}
	}
	return &PathTakenError{strings.TrimPrefix(thing, sealingPathKey("")), w.Host, holder}
}

// devicesOf lists the GPUs of a worker's lanes. A lane may have several,
// comma-separated as CUDA_VISIBLE_DEVICES has them.
func devicesOf(w jobs.Worker) ([]string, error) {
	var devices []string
	for _, lane := range w.Lanes {
		for device := range strings.SplitSeq(lane.Device, ",") {
			if device = strings.TrimSpace(device); device == "" || device == jobs.NoGPU {
				continue
			}
			if slices.Contains(devices, device) {
				return nil, &DeviceTakenError{w.Host, device, "another lane of " + w.Name()}
			}
			devices = append(devices, device)
		}
	}
	return devices, nil
}

// Leave ends a worker's being live at once. Sealing paths are shared by the workers
// of a host and lapse by themselves.
func (s *Store) Leave(ctx context.Context, w jobs.Worker) error {
	devices, err := devicesOf(w)
	if err != nil {
		return fmt.Errorf("leave %s: %w", w.Name(), err)
	}
	keys := []string{workersKey, workerKey(w.Name())}
	for _, device := range devices {
		keys = append(keys, deviceKey(w.Host, device))
	}
	if err := leaveScript.Run(ctx, s.rdb, keys, w.Name(), w.Owner()).Err(); err != nil {
		return fmt.Errorf("leave %s: %w", w.Name(), err)
	}
	return nil
}

// Workers gives the live workers by name, with what is promised of their paths and
// with the operator's orders to drain, and beside them those whose heartbeat cannot be parsed,
// by an [*UnreadError]: they live.
func (s *Store) Workers(ctx context.Context) ([]jobs.Worker, error) {
	fail := func(err error) ([]jobs.Worker, error) { return nil, fmt.Errorf("read live workers: %w", err) }
	var names, draining *redis.StringSliceCmd
	if _, err := s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		names, draining = pipe.SMembers(ctx, workersKey), pipe.SMembers(ctx, drainingKey)
		return nil
	}); err != nil {
		return fail(err)
	}
	if len(names.Val()) == 0 {
		return nil, nil
	}
	slices.Sort(names.Val())
	keys := make([]string, len(names.Val()))
	for i, name := range names.Val() {
		keys[i] = workerKey(name)
	}
	beats, err := s.rdb.MGet(ctx, keys...).Result()
	if err != nil {
		return fail(err)
	}
	var live []jobs.Worker
	bad := &UnreadError{Kind: "worker"}
	var paths []string
	var gone []any
	for i, beat := range beats {
		text, ok := beat.(string)
		if !ok {
			gone = append(gone, names.Val()[i])
			continue
		}
		var w jobs.Worker
		if err := json.Unmarshal([]byte(text), &w); err != nil {
			bad.add(names.Val()[i], fmt.Errorf("heartbeat of %s: %w", names.Val()[i], err))
			continue
		}
		w.Draining = w.Draining || slices.Contains(draining.Val(), w.Name())
		for _, path := range w.Paths {
			paths = append(paths, path.ID)
		}
		live = append(live, w)
	}
	if err := s.forget(ctx, gone); err != nil {
		return fail(err)
	}
	sums, err := s.reserved(ctx, paths)
	if err != nil {
		return fail(err)
	}
	for _, w := range live {
		for i := range w.Paths {
			w.Paths[i].Reserved = sums[w.Paths[i].ID]
		}
	}
	return live, bad.orNil()
}

// forgetScript takes names out of the set whose workers are still gone.
var forgetScript = redis.NewScript(`
for i, name in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then redis.call('SREM', KEYS[1], name) end
end
return 1
`)

func (s *Store) forget(ctx context.Context, names []any) error {
	if len(names) == 0 {
		return nil
	}
	keys := []string{workersKey}
	for _, name := range names {
		keys = append(keys, workerKey(name.(string)))
	}
	return forgetScript.Run(ctx, s.rdb, keys, names...).Err()
}

// SetDraining orders a worker, by name (host/instance), to take no more work, or
// ends the order. It stands until it is ended, also while the worker is down.
func (s *Store) SetDraining(ctx context.Context, name string, on bool) error {
	var err error
	if on {
		err = s.rdb.SAdd(ctx, drainingKey, name).Err()
	} else {
		err = s.rdb.SRem(ctx, drainingKey, name).Err()
	}
	if err != nil {
		return fmt.Errorf("order %s to drain: %w", name, err)
	}
	return nil
}

// Draining says whether a worker was ordered to drain.
func (s *Store) Draining(ctx context.Context, name string) (bool, error) {
	on, err := s.rdb.SIsMember(ctx, drainingKey, name).Result()
	if err != nil {
		return false, fmt.Errorf("is %s ordered to drain: %w", name, err)
	}
	return on, nil
}
