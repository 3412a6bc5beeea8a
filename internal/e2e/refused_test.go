package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/internal/redistest"
)

// A daemon that cannot work does not start, and says which thing is wrong and what
// to do.
func TestRefusedAtStart(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	const gpu = "{class: gpu, gpu: a, device: \"0\", width: 1}"
	shared := c.path("h1", "both", files.PathOptions{CanSeal: true, CanStore: true})
	c.worker(settings{host: "h1", instance: "main", lanes: gpu, paths: []string{shared}})
	c.alive(1)
	evicting := redistest.StartServer(t, "--maxmemory-policy", "allkeys-lru")
	for name, k := range map[string]struct {
		settings
		code int
		says []string
	}{
		"unknown keys":       {settings{more: "redsi: {url: x}\nweb2: {}"}, 2, []string{"redsi", "web2", "unknown"}},
		"wrong network":      {settings{more: "#network"}, 4, []string{"mainnet", "lpseal-devnet"}},
		"wrong miner":        {settings{more: "#miner"}, 4, []string{"01999"}},
		"Redis that evicts":  {settings{redis: evicting.URL}, 5, []string{"set maxmemory-policy noeviction (it is allkeys-lru)"}},
		"Redis too old":      {settings{redis: "redis://" + oldRedis(t)}, 5, []string{"is version 6.0.16: lpseal needs 6.2 or later"}},
		"Redis down":         {settings{redis: "redis://127.0.0.1:1"}, 5, []string{"127.0.0.1:1", "start Redis"}},
		"instance twice":     {settings{instance: "main"}, 4, []string{"h1/main", "instance"}},
		"GPU twice":          {settings{lanes: gpu}, 4, []string{"GPU 0 of host h1", "in one lane only"}},
		"path on two hosts":  {settings{host: "h2", paths: []string{shared}}, 4, []string{"served by host h1 already", "detach it"}},
		"folder that is new": {settings{paths: []string{c.dir}}, 1, []string{c.dir, "lpseal storage attach --init"}},
		"lane of no class":   {settings{lanes: "{class: sdrr}"}, 2, []string{"sdrr", "sdr, cpu, gpu, io"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := k.settings
			s.host, s.instance, s.lanes = or(s.host, "h1"), or(s.instance, "second"), or(s.lanes, "{class: cpu, width: 1}")
			file := c.config("bad "+name, s)
			args := []string{"--config", file}
			switch s.more {
			case "#network":
				args = append(args, "--set", "chain.network=mainnet")
			case "#miner":
				args = append(args, "--set", "miners=[{id: t01999}]")
			}
			_, complaint, err := command(t, append(args, "worker")...)
			require.Equal(t, k.code, exitCode(err), complaint)
			for _, part := range k.says {
				require.Contains(t, complaint, part)
			}
		})
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// oldRedis is a stand-in that says of itself what no Redis here does.
func oldRedis(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(s.Close)
	answers := map[string]func(*server.Peer, string, []string){
		"CLIENT": func(p *server.Peer, _ string, _ []string) { p.WriteOK() },
		"PING":   func(p *server.Peer, _ string, _ []string) { p.WriteInline("PONG") },
		"INFO": func(p *server.Peer, _ string, _ []string) {
			p.WriteBulk("redis_version:6.0.16\r\nrole:master\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n")
		},
		"TIME": func(p *server.Peer, _ string, _ []string) {
			now := time.Now()
			p.WriteStrings([]string{fmt.Sprint(now.Unix()), fmt.Sprint(now.Nanosecond() / 1000)})
		},
	}
	for name, answer := range answers {
		require.NoError(t, s.Register(name, answer))
	}
	return s.Addr().String()
}
