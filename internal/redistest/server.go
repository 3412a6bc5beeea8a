package redistest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func serverLine(args ...string) func(*process) []string {
	return func(p *process) []string {
		return append([]string{"--bind", "127.0.0.1", "--port", p.port, "--dir", p.dir, "--save", "", "--appendonly", "yes"}, args...)
	}
}

// StartServer starts a redis-server with an append-only file. args go to its command
// line, such as "--maxmemory-policy", "allkeys-lru".
func StartServer(t testing.TB, args ...string) *Redis {
	t.Helper()
	p := launch(t, plain, serverLine(args...))
	return &Redis{
		Client:  connect(t, redis.UniversalOptions{Addrs: []string{p.addr}}),
		URL:     "redis://" + p.addr,
		kill:    p.kill,
		restart: func() { p.restart(t) },
		server:  p,
	}
}

// StartTLS starts a redis-server that speaks TLS only, to one ACL user that may do
// what lpseal needs and nothing else.
func StartTLS(t testing.TB) *Redis {
	t.Helper()
	const user, password = "lpseal", "no:secret@100%"
	certs := makeCerts(t)
	acl := filepath.Join(t.TempDir(), "users.acl")
	require.NoError(t, os.WriteFile(acl, []byte(
		"user default off\n"+
			"user "+user+" on >"+password+" ~lpseal:* ~asynq:* &asynq:* +@all -@dangerous +info\n"), 0o600))
	dial := func(addr string) redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: addr, Username: user, Password: password, TLSConfig: certs.client})
	}
	p := launch(t, dial, func(p *process) []string {
		return []string{
			"--bind", "127.0.0.1", "--port", "0", "--tls-port", p.port, "--dir", p.dir, "--save", "", "--appendonly", "yes",
			"--tls-cert-file", certs.cert, "--tls-key-file", certs.key, "--tls-ca-cert-file", certs.ca, "--tls-auth-clients", "no",
			"--aclfile", acl,
		}
	})
	return &Redis{
		Client: connect(t, redis.UniversalOptions{Addrs: []string{p.addr}, Username: user, Password: password, TLSConfig: certs.client}),
		URL:    "rediss://" + p.addr,
		User:   user, Password: password, CAFile: certs.ca,
		kill:    p.kill,
		restart: func() { p.restart(t) },
	}
}

// StartSentinel starts a master, a replica of it, and a Sentinel that watches both.
// Kill and Restart are the master's.
func StartSentinel(t testing.TB) *Redis {
	t.Helper()
	const name = "sealing"
	ctx := context.Background()
	master := launch(t, plain, serverLine())
	replica := launch(t, plain, serverLine("--replicaof", "127.0.0.1 "+master.port))
	sentinel := launch(t, plain, func(p *process) []string {
		conf := filepath.Join(p.dir, "sentinel.conf")
		require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil,
			"bind 127.0.0.1\nport %s\ndir %s\nsentinel monitor %s 127.0.0.1 %s 1\nsentinel down-after-milliseconds %[3]s 1000\nsentinel failover-timeout %[3]s 2000\n",
			p.port, p.dir, name, master.port), 0o600))
		return []string{conf, "--sentinel"}
	})
	linked, watch := plain(replica.addr), redis.NewSentinelClient(&redis.Options{Addr: sentinel.addr})
	defer func() { _, _ = linked.Close(), watch.Close() }()
	await(t, "the replica to follow and the sentinel to know it", func() bool {
		info, err := linked.Info(ctx, "replication").Result()
		if err != nil || !strings.Contains(info, "master_link_status:up") {
			return false
		}
		replicas, err := watch.Replicas(ctx, name).Result()
		return err == nil && len(replicas) == 1
	})
	return &Redis{
		Client:  connect(t, redis.UniversalOptions{Addrs: []string{sentinel.addr}, MasterName: name}),
		URL:     "redis-sentinel://" + sentinel.addr + "/0?master=" + name,
		kill:    master.kill,
		restart: func() { master.restart(t) },
	}
}

// StartCluster starts three masters that share the slots. Kill and Restart are those
// of the first.
func StartCluster(t testing.TB) *Redis {
	t.Helper()
	const slots = 16384
	ctx := context.Background()
	var nodes []*process
	var clients []redis.UniversalClient
	var addrs []string
	for range 3 {
		p := launch(t, plain, serverLine("--cluster-enabled", "yes", "--cluster-node-timeout", "5000"))
		rdb := plain(p.addr)
		defer func() { _ = rdb.Close() }()
		nodes, clients, addrs = append(nodes, p), append(clients, rdb), append(addrs, p.addr)
	}
	for i, rdb := range clients {
		require.NoError(t, rdb.ClusterAddSlotsRange(ctx, i*slots/3, (i+1)*slots/3-1).Err())
		require.NoError(t, rdb.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
	}
	for _, p := range nodes[1:] {
		require.NoError(t, clients[0].ClusterMeet(ctx, "127.0.0.1", p.port).Err())
	}
	await(t, "the cluster to form", func() bool {
		for _, rdb := range clients {
			info, err := rdb.ClusterInfo(ctx).Result()
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3") {
				return false
			}
		}
		return true
	})
	return &Redis{
		Client:  connect(t, redis.UniversalOptions{Addrs: addrs}),
		URL:     "redis-cluster://" + strings.Join(addrs, ","),
		kill:    nodes[0].kill,
		restart: func() { nodes[0].restart(t) },
	}
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		require.True(t, time.Now().Before(deadline), "waited %s for %s", patience, what)
		<-time.After(20 * time.Millisecond)
	}
}
