package cli

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc/auth"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/handover/handovertest"
	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/jobs"
)

// TestDoctorSeesQueuesWithoutWorkers: work that nobody will ever take looks like work that
// waits its turn, to everybody but the doctor.
func TestDoctorSeesQueuesWithoutWorkers(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t)
	l, err := configs.Load(configs.Source{Alone: true, Flags: map[string]string{"redis.url": "redis://" + redis.Addr(), "host.id": "h1"}})
	require.NoError(t, err)
	c, err := (&app{err: io.Discard}).joinAs(t.Context(), &l.Config)
	require.NoError(t, err)
	t.Cleanup(c.close)
	task := jobs.TaskRef{ID: jobs.SectorID{Miner: 1000, Number: 1}, Stage: jobs.SDR, Fence: 1, Attempt: 1, Delivery: 1}
	require.NoError(t, c.queues.Enqueue(t.Context(), jobs.Queue{Class: jobs.ClassSDR, Host: "h1"}, task))
	look := func(lanes ...jobs.Lane) []finding {
		w := jobs.Worker{Host: "h1", Instance: "main", Run: "r", Lanes: lanes}
		require.NoError(t, c.store.Join(t.Context(), w, time.Minute))
		defer func() { require.NoError(t, c.store.Leave(t.Context(), w)) }()
		d := &doctor{cluster: c}
		d.servers(t.Context())
		return d.Findings
	}
	stranded := finding{"workers", failed, "queue sdr.h1 has 1 tasks and no live worker", "lpseal machines list; start or resume the worker that has this lane"}
	all := []jobs.Lane{{Class: jobs.ClassCPU}, {Class: jobs.ClassGPU, GPU: "a"}, {Class: jobs.ClassIO}, {Class: jobs.ClassChain}}

	found := look(all...)
	require.Contains(t, found, stranded)
	require.Contains(t, found, finding{"workers", warned, "no live worker has a fit sdr lane", "add a lane to worker.lanes of a host and start its worker"})

	found = look(append(all, jobs.Lane{Class: jobs.ClassSDR, Unfit: "two faults"})...)
	require.Contains(t, found, stranded)
	require.Contains(t, found, finding{"workers", failed, "lane sdr of h1/main took itself out: two faults", "mend it; the lane tries again by itself"})

	require.Equal(t, []finding{{"workers", fine, "1 is live, with lanes of every class", ""}}, look(append(all, jobs.Lane{Class: jobs.ClassSDR})...))

	require.NoError(t, c.store.SetDraining(t.Context(), "h1/main", true))
	require.Contains(t, look(jobs.Lane{Class: jobs.ClassSDR}), finding{"workers", warned, "no live worker has a fit sdr lane: h1/main is drained (lpseal machines resume h1/main)",
		"resume or start the worker, or mend the lane: lpseal machines list"})
}

// TestDoctorSeesTheHandover: a path that is not attached, and numbers that two programs may
// take, are found before a sector is.
func TestDoctorSeesTheHandover(t *testing.T) {
	t.Parallel()
	miner := handovertest.StartLotusMiner(t, 1000)
	dir := t.TempDir()
	_, err := files.Init(dir, files.PathOptions{CanStore: true})
	require.NoError(t, err)
	cfg := configs.Default()
	cfg.Handover = configs.Handover{To: jobs.HandoverLotusMiner, API: configs.Secret(miner.APIInfo(handovertest.Admin))}
	cfg.Worker.Paths = []configs.StorePath{{Dir: dir}}
	cfg.Miners = []configs.Miner{{ID: 1000, Ranges: []configs.Range{{First: 0, Last: 9}, {First: 1000, Last: 1999}}}}
	senders := map[configs.MinerID]chain.Wallet{}
	look := func() []finding {
		d := &doctor{cluster: &cluster{cfg: &cfg}, senders: senders}
		d.handover(t.Context())
		return d.Findings
	}
	miner.Reserve("lpseal", 1000, 1989)
	found := look()
	require.Len(t, found, 3)
	require.Equal(t, failed, found[0].Status)
	require.Contains(t, found[0].Text, dir+": lotus-miner t01000 knows no path")
	require.Equal(t, finding{"prover", failed, "the lotus-miner of t01000 may take 10 of the sector numbers 0-9, too", "lotus-miner sectors numbers reserve lpseal 0-9"}, found[1])
	require.Equal(t, "the lotus-miner of t01000 may take 10 of the sector numbers 1000-1999, too", found[2].Text)

	require.NoError(t, miner.Attach(dir))
	miner.Reserve("lpseal", 0, 1999)
	for _, f := range look() {
		require.Equal(t, fine, f.Status, f.Text)
	}

	key := devnet.Secp256k1Key("sender").Address()
	id, err := address.NewIDAddress(104)
	require.NoError(t, err)
	senders[1000] = chain.Wallet{Roles: []string{"control"}, ID: id.String(), Key: key.String()}
	last := func() finding { found := look(); return found[len(found)-1] }
	require.Equal(t, warned, last().Status)
	require.Contains(t, last().Text, "sends WindowPoSts from "+key.String())
	require.Contains(t, last().Fix, "TerminateControl")
	miner.Keep(key)
	require.Equal(t, fine, last().Status)
	senders[1000] = chain.Wallet{Roles: []string{"worker"}, ID: id.String(), Key: key.String()}
	require.Equal(t, warned, last().Status, "a worker is used for all")
	senders[1000] = chain.Wallet{Roles: []string{"control"}, ID: id.String(), Key: "t3other"}
	require.Equal(t, warned, last().Status)
	miner.Keep(id)
	require.Equal(t, fine, last().Status, "named by its ID")

	cfg.Miners[0].Ranges = nil
	delete(senders, 1000)
	require.Equal(t, warned, look()[1].Status)
	cfg.Handover.To = jobs.HandoverNone
	require.Empty(t, look())
}

// TestDoctorSeesWhoSigns: a token that may not sign keeps the first pre-commit waiting, which is hours after doctor could tell.
func TestDoctorSeesWhoSigns(t *testing.T) {
	t.Parallel()
	node, err := devnet.Start(t.Context(), devnet.Config{Token: "signs", Tokens: map[string]auth.Permission{"pushes": devnet.Write}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	cfg := configs.Default()
	logs, err := newLogs(cfg.Log, io.Discard)
	require.NoError(t, err)
	const mend = "lotus auth create-token --perm sign"
	for tokens, want := range map[string][]finding{
		"signs":        {{"chain", fine, "node " + node.URL() + " signs for lpseal", ""}},
		"pushes":       {{"chain", failed, "without a token that may sign node " + node.URL() + " sends no message", mend}},
		"signs,pushes": {{"chain", fine, "node " + node.URL() + " signs for lpseal", ""}, {"chain", warned, "without a token that may sign node " + node.URL() + " sends no message while those before it are away", mend}},
	} {
		var nodes []string
		for _, token := range strings.Split(tokens, ",") {
			nodes = append(nodes, strings.Replace(node.APIInfo(), "signs", token, 1))
		}
		cfg.Chain.API = configs.Secret(strings.Join(nodes, ","))
		d := &doctor{cluster: &cluster{cfg: &cfg, logs: logs}}
		d.chain(t.Context())
		for _, f := range want {
			require.Contains(t, d.Findings, f, tokens)
		}
	}
}
