package sectors_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis tells of every sentinel it meets
	// A worker that a dependency of chain starts when it is imported.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// bench is what a test of the conformance suite works with: an empty Redis.
type bench struct {
	*testing.T
	ctx   context.Context
	redis *redistest.Redis
	rdb   redis.UniversalClient
	store *sectors.Store
}

// conformance is every test that each kind of Redis must pass.
var conformance = []struct {
	name string
	test func(*bench)
}{
	{"a record is created once and read back", testCreate},
	{"a write compares versions and touches only what differs", testWrite},
	{"apply writes events and passes refusals on", testApply},
	{"of many who apply at a time all get through", testApplyRace},
	{"the log has a line for each write", testLog},
	{"the log is capped", testLogCap},
	{"records are loaded in bulk, bad ones by name", testLoadMany},
	{"all sectors are found, by miner too", testAll},
	{"indexes follow the record", testIndexes},
	{"any open sector is found", testAnyOpen},
	{"a sweep mends every index", testSweep},
	{"a sweep takes bounded steps", testSweepSteps},
	{"a crash between any two writes is mended", testCrashes},
	{"a write whose answer is lost is answered truly", testLostAnswers},
	{"a batch is written, ended and kept for a while", testBatches},
	{"open batches are found whatever happens to their index", testBatchIndex},
	{"a batch that cannot be parsed hides no other", testUnreadableBatches},
	{"who waits for a batch is indexed by group", testWaiting},
	{"progress is kept beside the record", testProgress},
	{"numbers are the lowest free ones and never come twice", testNumbers},
	{"many who allocate at a time get different numbers", testNumbersRace},
	{"pieces are found in their sectors", testPieces},
	{"of orders for one piece one has its turn", testTurns},
	{"a deal is remembered once and is in one sector", testDeals},
	{"a deal that cannot be parsed hides no other", testUnreadableDeals},
	{"a deal waits again by order", testReopenedDeals},
	{"deals that are done with are listed page by page", testPagesOfDeals},
	{"the plan of a sector has one end", testPlans},
	{"space is promised once per sector", testSpace},
	{"space is swept where records disagree", testSweepSpace},
	{"workers that collide are refused by name", testJoin},
	{"live workers are listed with space and orders", testWorkers},
	{"one of many takes a poll", testTakePoll},
	{"the journal swaps, lists and is mended", testJournal},
	{"what a wrong type does is an error", testDamage},
}

func conform(t *testing.T, start func(testing.TB) *redistest.Redis) {
	t.Parallel()
	r := start(t)
	rdb, err := sectors.Connect(t.Context(), sectors.Options{
		URL: r.URL, User: r.User, Password: r.Password, CAFile: r.CAFile, Timeout: 10 * time.Second,
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, rdb.Close()) }()
	for _, c := range conformance {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{T: t, ctx: t.Context(), redis: r, rdb: rdb, store: sectors.New(rdb)}
			b.clear()
			c.test(b)
		})
	}
}

// clear deletes every key: the ACL user of the TLS server may not FLUSHALL.
func (b *bench) clear() {
	b.Helper()
	wipe := func(ctx context.Context, node *redis.Client) error {
		for it := node.Scan(ctx, 0, "*", 1000).Iterator(); ; {
			if !it.Next(ctx) {
				return it.Err()
			}
			if err := node.Del(ctx, it.Val()).Err(); err != nil {
				return err
			}
		}
	}
	if c, ok := b.rdb.(*redis.ClusterClient); ok {
		require.NoError(b, c.ForEachMaster(b.ctx, wipe))
		return
	}
	require.NoError(b, wipe(b.ctx, b.rdb.(*redis.Client)))
}

func TestOnMiniredis(t *testing.T)    { conform(t, redistest.StartMini) }
func TestOnRedisServer(t *testing.T)  { conform(t, startServer) }
func TestOverTLS(t *testing.T)        { conform(t, redistest.StartTLS) }
func TestBehindSentinel(t *testing.T) { conform(t, redistest.StartSentinel) }
func TestOnCluster(t *testing.T)      { conform(t, redistest.StartCluster) }

func startServer(t testing.TB) *redistest.Redis { return redistest.StartServer(t) }

const miner = abi.ActorID(1000)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func sector(number int) jobs.SectorID {
	return jobs.SectorID{Miner: miner, Number: abi.SectorNumber(number)}
}

func record(id jobs.SectorID) *jobs.Record {
	commD, err := jobs.CommD(abi.RegisteredSealProof_StackedDrg2KiBV1_1, nil)
	if err != nil {
		panic(err)
	}
	return &jobs.Record{
		ID: id, Version: 1, Created: noon, Proof: abi.RegisteredSealProof_StackedDrg2KiBV1_1, CommD: commD,
		Stages: map[jobs.Stage]jobs.StageRecord{},
	}
}

// create makes a record of a number in the store.
func (b *bench) create(number int) *jobs.Record {
	b.Helper()
	r := record(sector(number))
	require.NoError(b, b.store.Create(b.ctx, r, "test"))
	return r
}

func (b *bench) apply(id jobs.SectorID, e jobs.Event) *jobs.Record {
	b.Helper()
	r, err := b.store.Apply(b.ctx, id, e, "test", noon)
	require.NoError(b, err)
	return r
}

func (b *bench) load(id jobs.SectorID) *jobs.Record {
	b.Helper()
	r, err := b.store.Load(b.ctx, id)
	require.NoError(b, err)
	return r
}

// the indexes' answers.
func (b *bench) due() []jobs.SectorID {
	b.Helper()
	ids, err := b.store.Due(b.ctx, noon, 0)
	require.NoError(b, err)
	return ids
}

func (b *bench) held() []jobs.SectorID {
	b.Helper()
	ids, err := b.store.Held(b.ctx)
	require.NoError(b, err)
	return ids
}

func (b *bench) done() []jobs.SectorID {
	b.Helper()
	ids, err := b.store.Done(b.ctx, miner, 0, 100)
	require.NoError(b, err)
	return ids
}

// sweep makes a whole pass.
func (b *bench) sweep() (total sectors.Mended) {
	b.Helper()
	for cursor, steps := "", 0; ; steps++ {
		require.Less(b, steps, 10000, "the sweep does not end")
		next, m, err := b.store.Sweep(b.ctx, cursor, 100)
		require.NoError(b, err)
		total.Add(m)
		if cursor = next; cursor == "" {
			return total
		}
	}
}

var scheduled = jobs.Scheduled{Stage: jobs.TreeD, Queue: jobs.Queue{Class: jobs.ClassCPU, Host: "h1"}}

func key(id jobs.SectorID) string { return fmt.Sprintf("lpseal:{%s}", id) }
