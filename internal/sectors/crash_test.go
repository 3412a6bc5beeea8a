package sectors_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// breaker is a go-redis hook that breaks the connection at the nth command.
type breaker struct {
	mu    sync.Mutex
	left  int  // commands until it breaks
	after bool // the command is carried out and only its answer is lost
	heal  bool // it breaks once; else the process is dead from then on
	broke bool
}

var errBroken = errors.New("connection reset by test")

// admit says whether a command may run, and whether its answer arrives.
func (h *breaker) admit() (run, answer bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broke {
		return h.heal, h.heal
	}
	if h.left--; h.left >= 0 {
		return true, true
	}
	h.broke = true
	return h.after, false
}

func (h *breaker) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h *breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		run, answer := h.admit()
		if !run {
			cmd.SetErr(errBroken)
			return errBroken
		}
		err := next(ctx, cmd)
		if !answer {
			cmd.SetErr(errBroken)
			return errBroken
		}
		return err
	}
}

func (h *breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		run, answer := h.admit()
		var err error
		if run {
			err = next(ctx, cmds)
		}
		if !answer {
			for _, cmd := range cmds {
				cmd.SetErr(errBroken)
			}
			return errBroken
		}
		return err
	}
}

// broken is a store whose connection breaks; the bench's own goes on.
func (b *bench) broken(h *breaker) (*sectors.Store, func()) {
	b.Helper()
	rdb, err := sectors.Connect(b.ctx, sectors.Options{
		URL: b.redis.URL, User: b.redis.User, Password: b.redis.Password, CAFile: b.redis.CAFile,
	})
	require.NoError(b, err)
	rdb.AddHook(h)
	return sectors.New(rdb), func() { require.NoError(b, rdb.Close()) }
}

// testCrashes cuts every kind of write off at each of its commands, before and after
// it is carried out, and sees that the next poll or sweep finds the sector.
func testCrashes(b *bench) {
	writes := map[string]struct {
		prepare func(id jobs.SectorID) // before the crash
		write   func(s *sectors.Store, id jobs.SectorID) error
	}{
		"create": {
			func(jobs.SectorID) {},
			func(s *sectors.Store, id jobs.SectorID) error { return s.Create(b.ctx, record(id), "test") },
		},
		"place": {
			func(id jobs.SectorID) { b.create(int(id.Number)) },
			func(s *sectors.Store, id jobs.SectorID) error {
				if err := s.Reserve(b.ctx, "p1", id, 100, 1000); err != nil {
					return err
				}
				_, err := s.Apply(b.ctx, id, jobs.Placed{Path: "p1"}, "test", noon)
				return err
			},
		},
		"hold": {
			func(id jobs.SectorID) { b.create(int(id.Number)) },
			func(s *sectors.Store, id jobs.SectorID) error {
				_, err := s.Apply(b.ctx, id, jobs.Held{Hold: jobs.Hold{Reason: "look"}}, "test", noon)
				return err
			},
		},
		"release": {
			func(id jobs.SectorID) {
				b.create(int(id.Number))
				b.apply(id, jobs.Held{Hold: jobs.Hold{Reason: "look"}})
			},
			func(s *sectors.Store, id jobs.SectorID) error {
				_, err := s.Apply(b.ctx, id, jobs.Released{}, "test", noon)
				return err
			},
		},
		"finish": {
			func(id jobs.SectorID) {
				b.create(int(id.Number))
				b.apply(id, jobs.Held{Hold: jobs.Hold{Reason: "look"}})
			},
			func(s *sectors.Store, id jobs.SectorID) error {
				_, err := s.Apply(b.ctx, id, jobs.Finished{Outcome: jobs.Removed}, "test", noon)
				return err
			},
		},
	}
	for name, w := range writes {
		crashes := 0
		for _, after := range []bool{false, true} {
			for n := 0; ; n++ {
				b.clear()
				id := sector(1)
				w.prepare(id)
				// A poll has looked and put the next look off.
				require.NoError(b, b.store.SetDue(b.ctx, id, noon.Add(1)))
				before, _ := b.store.Load(b.ctx, id)
				h := &breaker{left: n, after: after}
				s, closeIt := b.broken(h)
				_ = w.write(s, id)
				closeIt()
				if !h.broke {
					require.Positive(b, n, name)
					break
				}
				crashes++
				b.foundAfterCrash(id, before, name, n)
			}
		}
		require.GreaterOrEqual(b, crashes, 4, "%s has at least two commands", name)
	}
}

func (b *bench) foundAfterCrash(id jobs.SectorID, before *jobs.Record, name string, n int) {
	b.Helper()
	now, err := b.store.Load(b.ctx, id)
	if errors.Is(err, sectors.ErrNotFound) {
		now, err = nil, nil
	}
	require.NoError(b, err)
	changed := now != nil && (before == nil || now.Version != before.Version)
	if changed && now.Outcome == jobs.Open {
		require.Contains(b, b.due(), id, "%s cut off at command %d: the next poll finds it", name, n)
	}
	b.sweep()
	_, err = b.store.SweepSpace(b.ctx)
	require.NoError(b, err)
	in := func(ids []jobs.SectorID, want bool, index string) {
		b.Helper()
		require.Equal(b, want, len(ids) == 1, "%s cut off at command %d: %s after the sweep", name, n, index)
	}
	everDue, err := b.store.Due(b.ctx, noon.AddDate(1, 0, 0), 0)
	require.NoError(b, err)
	in(everDue, now != nil && now.Outcome == jobs.Open, "due")
	in(b.held(), now != nil && now.Outcome == jobs.Open && now.Hold != nil, "held")
	in(b.done(), now != nil && now.Outcome != jobs.Open, "done")
	space, err := b.store.Reservations(b.ctx, "p1")
	require.NoError(b, err)
	if now != nil && now.Home == "p1" {
		require.Contains(b, space, id, "%s cut off at command %d", name, n)
	}
}

// testLostAnswers: the connection breaks once, and go-redis or the store asks again.
// Every write answers as if nothing had been, and is done once.
func testLostAnswers(b *bench) {
	for _, after := range []bool{false, true} {
		for n := range 8 {
			b.clear()
			h := &breaker{left: n, after: after, heal: true}
			s, closeIt := b.broken(h)
			id := sector(1)
			err := s.Create(b.ctx, record(id), "test")
			if err == nil {
				_, err = s.Apply(b.ctx, id, jobs.Placed{Path: "p1"}, "test", noon)
			}
			closeIt()
			if err != nil { // a read or the due index, before anything was written
				require.ErrorIs(b, err, errBroken)
				require.NotErrorIs(b, err, sectors.ErrUnknown)
				continue
			}
			lines, err := b.store.Log(b.ctx, id, 0)
			require.NoError(b, err)
			require.Len(b, lines, 2, "after=%v n=%d", after, n)
			require.Equal(b, int64(2), b.load(id).Version)
		}
	}

	// The journal and the space too.
	for n := range 6 {
		h := &breaker{left: n, after: true, heal: true}
		s, closeIt := b.broken(h)
		name := fmt.Sprintf("sender/t1%d", n)
		ok, err := s.Journal().Swap(b.ctx, name, nil, []byte("{}"))
		if n == 0 { // the index, before the entry was written
			require.ErrorIs(b, err, errBroken)
		} else {
			require.NoError(b, err)
			require.True(b, ok, "an entry that is ours is ours, n=%d", n)
		}
		require.NoError(b, s.Reserve(b.ctx, "p9", sector(n), 1, 6))
		closeIt()
	}

	// Another's write in between is not taken for ours.
	r := b.load(sector(1))
	next, err := jobs.Apply(r, jobs.Held{Hold: jobs.Hold{Reason: "theirs"}}, noon)
	require.NoError(b, err)
	b.apply(r.ID, jobs.Held{Hold: jobs.Hold{Reason: "ours"}})
	require.ErrorIs(b, b.store.Write(b.ctx, r, next, jobs.Held{}, "test"), sectors.ErrConflict)

	// No answer at all is unknown.
	s, closeIt := b.broken(&breaker{left: 1, after: true})
	defer closeIt()
	err = s.Create(b.ctx, record(sector(2)), "test")
	require.ErrorIs(b, err, sectors.ErrUnknown)
	require.Equal(b, sector(2), b.load(sector(2)).ID, "for it was written")
}
