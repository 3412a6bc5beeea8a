package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/jobs"
)

// Two verified pieces and one with a deal of the market share a sector: when it is committed, the allocations are claims and the
// deal is active, and each piece comes back from the replica where `pieces find` says it lies.
func TestDealsFromAllocationToRetrieval(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.host("")
	order := []string{"sectors", "add", "--keep-unsealed"}
	names := []string{"a", "b", "c"}
	for name, size := range map[string]int{"a": 1000, "b": 500, "c": 400} {
		c.data(name, size)
	}
	for i, name := range names {
		command := "allocate"
		if i == 2 {
			command = "deal"
		}
		order = append(order, strings.Fields(c.lpseal("devnet", command, filepath.Join(c.dir, name)))...)
	}
	// What a client orders is state two epochs later.
	client, err := address.NewIDAddress(101)
	require.NoError(t, err)
	c.until("the allocations and the deal", func() bool {
		made, err := c.node.StateGetAllocations(t.Context(), client, lotus.EmptyTSK)
		require.NoError(t, err)
		_, err = c.node.StateMarketStorageDeal(t.Context(), 1, lotus.EmptyTSK)
		return len(made) == 2 && err == nil
	})
	id, err := jobs.ParseSectorID(strings.TrimSpace(c.lpseal(order...)))
	require.NoError(t, err)
	_, complaint, err := c.try(order...)
	require.Error(t, err)
	require.Contains(t, complaint, "sector "+id.String()+" has it already for the same allocation or deal")

	c.until("the end", func() bool {
		r := c.record(id)
		require.Nil(t, r.Hold, "%v", r.Hold)
		return r.Outcome == jobs.Committed
	})
	c.sentOnce(id, 1)
	miner, err := address.NewIDAddress(1000)
	require.NoError(t, err)
	claims, err := c.node.StateGetClaims(t.Context(), miner, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Len(t, claims, 2)
	for i, p := range c.record(id).Pieces[:2] {
		claim := claims[verifreg.ClaimId(i+1)]
		require.Equal(t, p.CID, claim.Data)
		require.Equal(t, id.Number, claim.Sector)
	}
	deal, err := c.node.StateMarketStorageDeal(t.Context(), 1, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Positive(t, deal.State.SectorStartEpoch)
	require.Equal(t, id.Number, deal.State.SectorNumber)
	sector, err := c.node.StateSectorGetInfo(t.Context(), miner, id.Number, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Positive(t, sector.VerifiedDealWeight.Int.Sign())

	for i, p := range c.record(id).Pieces {
		var places []jobs.PiecePlace
		require.NoError(t, json.Unmarshal([]byte(c.lpseal("pieces", "find", "--json", p.CID.String())), &places))
		require.Len(t, places, 1)
		at := places[0]
		require.Equal(t, id, at.Sector)
		require.Equal(t, []abi.PaddedPieceSize{0, 1024, 1536}[i], at.Offset)
		require.True(t, at.Committed && at.Unsealed && at.Stored != "", "%+v", at)
		want, err := os.ReadFile(filepath.Join(c.dir, names[i]))
		require.NoError(t, err)
		whole, part := filepath.Join(c.dir, names[i]+".whole"), filepath.Join(c.dir, names[i]+".part")
		c.lpseal("sectors", "unseal", id.String(), "--piece", string(rune('0'+i)), "--out", whole)
		got, err := os.ReadFile(whole)
		require.NoError(t, err)
		require.Equal(t, want, got)
		c.lpseal("sectors", "unseal", id.String(), "--piece", string(rune('0'+i)), "--offset", "100", "--size", "33", "--out", part)
		got, err = os.ReadFile(part)
		require.NoError(t, err)
		require.Equal(t, want[100:133], got)
		unsealed, err := os.ReadFile(filepath.Join(c.dir, "h1", "both", "unsealed", id.String()))
		require.NoError(t, err)
		require.Equal(t, want[:31], unsealed[at.Offset:at.Offset+31], "before the first fr32 padding")
	}
}

// A market posts deals to lpseal web; they are packed into a sector, which is sealed. What is posted again gets the same answer.
// Sectors here go when they are full: how long a deal waits for others is a matter of the machine's load.
func TestDealsOfAMarket(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	dir := c.path("h1", "both", files.PathOptions{CanSeal: true, CanStore: true})
	path, err := files.OpenPath(dir)
	require.NoError(t, err)
	c.worker(settings{host: "h1", instance: "main", lanes: sealing + ", {class: gpu, gpu: a, width: 1}", paths: []string{dir}})
	for _, name := range []string{"s1", "s2"} {
		c.scheduler(name)
	}
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	c.start("web", in, "web", "--config", c.file("operator"), "--set", "web.allow_writes=true")
	require.NoError(t, in.Close())
	page, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	page = strings.TrimSpace(page)
	c.alive(3)

	post := func(body string) (status jobs.DealStatus) {
		res, err := http.Post(page+"api/v1/deals", "application/json", strings.NewReader(body))
		require.NoError(t, err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode, "%s", text)
		require.NoError(t, json.Unmarshal(text, &status))
		return status
	}
	bodies := map[string]string{}
	for _, name := range []string{"a", "b"} {
		file := c.data(name, 1000)
		flags := strings.Fields(c.lpseal("devnet", "allocate", file)) // --piece FILE --piece-cid CID …
		bodies[name] = fmt.Sprintf(`{"id": %q, "piece_cid": %q, "raw_size": %d, "source": %q, "home": %q, "allocation": %q}`,
			name, flags[3], 1000, file, path.ID, flags[7])
	}
	client, err := address.NewIDAddress(101)
	require.NoError(t, err)
	c.until("the allocations", func() bool {
		made, err := c.node.StateGetAllocations(t.Context(), client, lotus.EmptyTSK)
		require.NoError(t, err)
		return len(made) == 2
	})
	for name, body := range bodies {
		require.Equal(t, name, post(body).ID)
	}
	// A third one, whose data is away: its sector is removed, and it is tried again with another.
	away := c.data("c", 2000)
	flags := strings.Fields(c.lpseal("devnet", "allocate", away))
	require.NoError(t, os.Rename(away, away+".away"))
	third := fmt.Sprintf(`{"id": "c", "piece_cid": %q, "raw_size": 2000, "source": %q, "home": %q, "keep_unsealed": true}`, flags[3], away, path.ID)
	post(third)
	c.until("its sector", func() bool { return post(third).Place != nil })
	removed := post(third).Place.Sector
	c.lpseal("sectors", "remove", removed.String(), "--yes")
	require.Equal(t, jobs.DealRemoved, post(third).State)
	require.NoError(t, os.Rename(away+".away", away))
	require.Equal(t, "c: waiting\n", c.lpseal("deals", "retry", "c"))
	c.until("the third to be committed", func() bool { return post(third).State == jobs.DealCommitted })
	require.NotEqual(t, removed, post(third).Place.Sector)
	c.until("both to be committed", func() bool {
		return post(bodies["a"]).State == jobs.DealCommitted && post(bodies["b"]).State == jobs.DealCommitted
	})
	a, b := post(bodies["a"]).Place, post(bodies["b"]).Place
	require.Equal(t, a.Sector, b.Sector, "they share a sector")
	require.EqualValues(t, 1024, a.Offset+b.Offset, "side by side")
	require.Contains(t, c.lpseal("deals", "show", "b"), a.Sector.String())
	miner, err := address.NewIDAddress(1000)
	require.NoError(t, err)
	claims, err := c.node.StateGetClaims(t.Context(), miner, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Len(t, claims, 2)
}
