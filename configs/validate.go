package configs

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// AutoProver leaves the choice of a prover to the host's figures.
const AutoProver = "auto"

// Provers are what a lane or a stage may name.
var Provers = []string{AutoProver, jobs.NativeProver, "filcrypto"}

// check collects what is wrong with values that could be read.
type check struct {
	l        *Loaded
	unread   []*Problem // with those that could not
	problems []*Problem
}

func (l *Loaded) validate(unread []*Problem) []*Problem {
	k, c := &check{l: l, unread: unread}, &l.Config
	k.redis(&c.Redis)
	k.chain(&c.Chain)
	k.miners(c.Miners)
	k.policy(&c.Policy)
	k.slug("host.id", c.Host.ID)
	k.absolute("host.state_dir", c.Host.StateDir)
	if c.Host.Cores < 0 {
		k.fail("host.cores", c.Host.Cores, "negative", "write 0 for all cores")
	}
	k.slug("worker.instance", c.Worker.Instance)
	if c.Worker.Drain < 0 {
		k.fail("worker.drain", c.Worker.Drain, "negative", "write 0s to stop at once")
	}
	k.lanes(c.Worker.Lanes)
	k.provers(&c.Worker.Provers)
	k.paths(c.Worker.Paths)
	k.fileService(&c.Worker.FileService)
	if k.slug("scheduler.instance", c.Scheduler.Instance); c.Scheduler.Instance == c.Worker.Instance {
		k.fail("scheduler.instance", c.Scheduler.Instance, "is worker.instance, too", "choose another: both are live workers of this host")
	}
	if p := c.Scheduler.Period; p < time.Second || p > 10*time.Minute || p%time.Second != 0 {
		k.fail("scheduler.period", p, "out of bounds", "choose whole seconds, 1s to 10m")
	}
	k.web(&c.Web)
	if c.Metrics.Listen != "" {
		k.hostPort("metrics.listen", c.Metrics.Listen)
	}
	k.log(&c.Log)
	k.handover(&c.Handover)
	return k.problems
}

// read says that a value could be read, and all of it if it is an entry: the bounds of one
// that could not would be noise.
func (k *check) read(key string) bool {
	return !slices.ContainsFunc(k.unread, func(u *Problem) bool {
		return u.Key == key || strings.HasPrefix(u.Key, key+".") || strings.HasPrefix(key, u.Key+".")
	})
}

func (k *check) fail(key string, value any, what, remedy string) {
	if !k.read(key) {
		return
	}
	p := &Problem{Key: key, Origin: k.l.origin(key), What: what, Remedy: remedy}
	if s, ok := value.(fmt.Stringer); ok {
		value = s.String()
	}
	if value != nil && value != hidden {
		p.Value = show(value)
	}
	k.problems = append(k.problems, p)
}

func (k *check) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		k.fail(key, value, "not a choice", "write one of "+strings.Join(allowed, ", "))
	}
}

func (k *check) slug(key, value string) {
	if !jobs.ValidSlug(value) {
		k.fail(key, value, "not a name", "use [a-z0-9-]{1,40}: it becomes part of queue names and paths")
	}
}

func (k *check) absolute(key, dir string) {
	if !filepath.IsAbs(dir) {
		k.fail(key, dir, "not an absolute path", "start it with /")
	}
}

func (k *check) redis(r *Redis) {
	scheme, rest, ok := strings.Cut(r.URL, "://")
	schemes := []string{"redis", "rediss", "unix", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"}
	switch {
	case !ok || !slices.Contains(schemes, scheme):
		k.fail("redis.url", redacted(r.URL), "not an address of Redis", "write redis://HOST:6379/0; its schemes are "+strings.Join(schemes, ", "))
	case strings.Contains(rest, "@") && r.Password != "":
		k.fail("redis.url", redacted(r.URL), "holds a user, and redis.password is given too", "keep one of them")
	}
	if r.CA != "" {
		k.absolute("redis.ca", r.CA)
	}
}

// redacted hides the password in a URL, also in one that does not parse.
func redacted(s string) string {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			return scheme + "://…@" + rest[at+1:]
		}
	}
	return s
}

func (k *check) chain(c *Chain) {
	if c.Confidence < 1 || c.Confidence > 900 {
		k.fail("chain.confidence", c.Confidence, "out of bounds", "choose 1 to 900 epochs; 5 suits every network")
	}
	if c.ReplaceAfter < 1 || c.ReplaceAfter > 2880 {
		k.fail("chain.replace_after", c.ReplaceAfter, "out of bounds", "choose 1 to 2880 epochs; a message usually lands in the next one or two")
	}
	if c.MaxReplacements < 1 || c.MaxReplacements > 50 {
		k.fail("chain.max_replacements", c.MaxReplacements, "out of bounds", "choose 1 to 50; each raises the premium by a quarter")
	}
	if most := c.MaxFeeMessage.Atto(); most.LessThan(c.MaxFeePreCommit.Atto()) || most.LessThan(c.MaxFeeCommit.Atto()) {
		k.fail("chain.max_fee_message", c.MaxFeeMessage, "less than the maximum fee for one sector", "raise it, or lower max_fee_precommit and max_fee_commit")
	}
	k.oneOf("chain.aggregate", c.Aggregate, "auto", "off")
	if a := c.Sender.Address; a != "" {
		if _, err := address.NewFromString(a); err != nil {
			k.fail("chain.sender.address", a, "not a Filecoin address", "write it as lotus wallet list prints it")
		}
	}
	if c.JournalDir != "" {
		k.absolute("chain.journal_dir", c.JournalDir)
	}
}

func (k *check) miners(miners []Miner) {
	seen := map[MinerID]bool{}
	for i, m := range miners {
		key := fmt.Sprintf("miners[%d]", i)
		if m.ID == 0 {
			k.fail(key+".id", nil, "missing", "write the miner's ID address, such as t01000")
		} else if seen[m.ID] {
			k.fail(key+".id", m.ID, "named twice", "give one entry all its ranges")
		}
		seen[m.ID] = true
		sorted := slices.SortedFunc(slices.Values(m.Ranges), func(a, b Range) int { return int(a.First) - int(b.First) })
		for j := 1; j < len(sorted); j++ {
			if sorted[j].First <= sorted[j-1].Last {
				k.fail(key+".ranges", sorted[j], "overlaps "+sorted[j-1].String(), "make the ranges disjoint")
			}
		}
	}
}

func (k *check) handover(h *Handover) {
	var choices []string
	for _, to := range jobs.Handovers {
		choices = append(choices, string(to))
	}
	k.oneOf("handover.to", string(h.To), choices...)
	if name := handoverEnv[h.To]; name != "" && h.API == "" {
		k.fail("handover.api", nil, "missing", "set "+name+", or LPSEAL_HANDOVER_API_FILE to a file that holds it")
	}
}

func (k *check) policy(p *Policy) {
	k.oneOf("policy.release_layers", string(p.ReleaseLayers), string(jobs.ReleaseAfterC2), string(jobs.ReleaseAfterCommit))
	for _, n := range []struct {
		key string
		abi.ChainEpoch
	}{
		{"ticket_lookback", p.TicketLookback}, {"ticket_window", p.TicketWindow}, {"ticket_margin", p.TicketMargin},
		{"ticket_fresh", p.TicketFresh}, {"seed_confidence", p.SeedConfidence}, {"pack_slack", p.PackSlack},
		{"max_retickets", abi.ChainEpoch(p.MaxRetickets)}, {"max_rollbacks", abi.ChainEpoch(p.MaxRollbacks)},
	} {
		if n.ChainEpoch < 0 {
			k.fail("policy."+n.key, n.ChainEpoch, "negative", "write 0 or more")
		}
	}
	if p.TicketLookback+p.TicketMargin >= p.TicketWindow {
		k.fail("policy.ticket_window", p.TicketWindow, "no epoch is left between drawing the ticket and the deadline", "keep ticket_lookback + ticket_margin below ticket_window")
	}
	most := map[string]int{"policy.precommit_batch": jobs.MaxBatch, "policy.commit_batch": jobs.MaxAggregate}
	for key, b := range map[string]Batch{"policy.precommit_batch": p.PreCommits, "policy.commit_batch": p.Commits} {
		if b.Max < 1 || b.Max > most[key] {
			k.fail(key+".max", b.Max, "not a size of batches", fmt.Sprintf("write 1 to %d, which the miner actor takes at most", most[key]))
		}
		for name, d := range map[string]time.Duration{".wait": b.Wait, ".slack": b.Slack} {
			if d < 0 {
				k.fail(key+name, d, "negative", "write 0s or more")
			}
		}
	}
	for _, d := range []struct {
		key string
		time.Duration
	}{
		{"backoff_base", p.BackoffBase}, {"backoff_max", p.BackoffMax}, {"busy_wait", p.BusyWait}, {"look", p.Look}, {"pack_wait", p.PackWait},
	} {
		if d.Duration <= 0 {
			k.fail("policy."+d.key, d.Duration, "not a wait", "write a duration above 0s")
		}
	}
}

func (k *check) lanes(lanes []Lane) {
	devices := map[string]int{}
	classes := make([]string, 0, len(jobs.Classes))
	for _, c := range jobs.Classes {
		if c != jobs.ClassChain {
			classes = append(classes, string(c))
		}
	}
	for i, l := range lanes {
		key := fmt.Sprintf("worker.lanes[%d]", i)
		switch gpu := l.Class == jobs.ClassGPU; {
		case l.Class == jobs.ClassChain:
			k.fail(key+".class", string(l.Class), "the scheduler serves this class itself", "remove the lane")
		case !slices.Contains(classes, string(l.Class)):
			k.fail(key+".class", string(l.Class), "no such lane class", "write one of "+strings.Join(classes, ", "))
		case gpu && l.GPU == "":
			k.fail(key+".gpu", nil, "missing", "name the GPU's class, such as rtx4090: queues are made from it")
		case gpu:
			k.slug(key+".gpu", l.GPU)
		case l.GPU != "" || l.Device != "":
			k.fail(key, string(l.Class), "a GPU is given to a lane of another class", "remove gpu and device, or make the class gpu")
		}
		if l.Width < 0 {
			k.fail(key+".width", l.Width, "negative", "write how many stages run at a time")
		}
		if l.Threads < 0 {
			k.fail(key+".threads", l.Threads, "negative", "write 0 for all processors")
		}
		if l.Prover != "" {
			k.oneOf(key+".prover", l.Prover, Provers...)
		}
		if k.read(key+".class") && k.read(key+".width") {
			k.sharing(key, &l)
		}
		k.environment(key+".env", l.Env)
		if before, twice := devices[l.Device]; twice && l.Device != "" && l.Device != jobs.NoGPU {
			k.fail(key+".device", l.Device, fmt.Sprintf("worker.lanes[%d] has this GPU already", before), "give each GPU one lane")
		}
		devices[l.Device] = i
	}
}

// sharing refuses what the lane's children cannot share.
func (k *check) sharing(key string, l *Lane) {
	switch {
	case l.Lockstep < 0:
		k.fail(key+".lockstep", l.Lockstep, "negative", "write 1 for none")
	case l.Lockstep > 1 && l.Class != jobs.ClassSDR:
		k.fail(key+".lockstep", l.Lockstep, "only layers are made together", "give it to a lane of class sdr")
	case l.Lockstep > max(l.Width, 1):
		k.fail(key+".lockstep", l.Lockstep, "more than the lane's width", "raise the width, or lower this")
	}
	if l.Warm != "" {
		k.oneOf(key+".warm", l.Warm, WarmAuto, WarmAlways, WarmNever)
	}
	if l.Class != jobs.ClassGPU && (l.Warm != "" || l.WarmIdle != 0) {
		k.fail(key+".warm", l.Warm, "only c2 keeps parameters", "give it to a lane of class gpu")
	}
	if l.WarmIdle < 0 {
		k.fail(key+".warm_idle", l.WarmIdle, "negative", "write how long a child stays, such as 10m")
	}
}

// environment refuses what the worker itself sets for proof processes.
func (k *check) environment(key string, env []string) {
	for i, e := range env {
		key := fmt.Sprintf("%s[%d]", key, i)
		switch name, _, ok := strings.Cut(e, "="); {
		case !ok || name == "":
			k.fail(key, e, "not NAME=value", "write it like FIL_PROOFS_USE_MULTICORE_SDR=1")
		case name == "CUDA_VISIBLE_DEVICES":
			k.fail(key, e, "the lane's device decides it", "write device instead: it is locked, too")
		case name == "RAYON_NUM_THREADS":
			k.fail(key, e, "the lane's threads decide it", "write threads instead")
		case strings.HasPrefix(name, envPrefix):
			k.fail(key, e, "lpseal's own", "write it as a key of this file")
		}
	}
}

func (k *check) provers(p *StageProvers) {
	for _, s := range []struct{ key, prover string }{
		{"tree_d", p.TreeD}, {"sdr", p.SDR}, {"tree_rc", p.TreeRC}, {"c1", p.C1}, {"c2", p.C2},
	} {
		if s.prover != "" {
			k.oneOf("worker.provers."+s.key, s.prover, Provers...)
		}
	}
}

func (k *check) paths(paths []StorePath) {
	seen := map[string]bool{}
	for i, p := range paths {
		key := fmt.Sprintf("worker.paths[%d].dir", i)
		k.absolute(key, p.Dir)
		if clean := filepath.Clean(p.Dir); seen[clean] {
			k.fail(key, p.Dir, "named twice", "remove one of them")
		} else {
			seen[clean] = true
		}
	}
}

func (k *check) fileService(f *FileService) {
	if f.Listen == "" {
		return
	}
	k.hostPort("worker.file_service.listen", f.Listen)
	if u, err := url.Parse(f.Advertise); f.Advertise != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		k.fail("worker.file_service.advertise", f.Advertise, "not a base URL", "write http://HOST:PORT")
	}
	if len(f.Secret) < 32 {
		k.fail("worker.file_service.secret", nil, "shorter than 32 characters", "make one with: openssl rand -hex 32")
	}
}

func (k *check) hostPort(key, value string) (host string, ok bool) {
	host, _, err := net.SplitHostPort(value)
	if err != nil {
		k.fail(key, value, "not an address", "write HOST:PORT, such as 127.0.0.1:8645")
	}
	return host, err == nil
}

func (k *check) web(w *Web) {
	if host, ok := k.hostPort("web.listen", w.Listen); ok && !loopback(host) && w.Token == "" {
		k.fail("web.listen", w.Listen, "others can reach it, and web.token is empty", "set LPSEAL_WEB_TOKEN_FILE, or listen on 127.0.0.1")
	}
	if w.Token != "" && len(w.Token) < 16 {
		k.fail("web.token", nil, "shorter than 16 characters", "make one with: openssl rand -hex 16")
	}
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (k *check) log(l *Log) {
	if _, err := ParseLevels(l.Level); err != nil {
		k.fail("log.level", l.Level, err.Error(), "write debug, info, warn or error, and part=level pairs after it")
	}
	k.oneOf("log.format", l.Format, "text", "json", "color", "nocolor")
}
