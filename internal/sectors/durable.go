package sectors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// replicaWait is how long a write waits for a replica.
const replicaWait = time.Second

// durably writes to the key's master over one connection and, where it has
// replicas, waits until one of them has the write (design rule 13). WAIT speaks for
// its own connection only, and not at all inside a script.
func (s *Store) durably(ctx context.Context, key string, write func(redis.Scripter) (int, error)) (int, error) {
	return certain(ctx, func() (int, error) {
		node, err := s.nodeOf(ctx, key)
		if err != nil {
			return 0, err
		}
		conn := node.Conn()
		defer func() { _ = conn.Close() }() // gives it back to the pool
		answer, err := write(conn)
		if err != nil {
			s.moved(ctx, err)
			return answer, err
		}
		// miniredis has no such section, and no replicas.
		info, err := conn.Info(ctx, "replication").Result()
		var reply redis.Error
		if errors.As(err, &reply) || err == nil && !hasReplicas(info) {
			return answer, nil
		}
		if err != nil {
			return answer, err
		}
		n, err := conn.Wait(ctx, 1, replicaWait).Result()
		if err == nil && n == 0 {
			err = fmt.Errorf("no replica confirmed the write within %s", replicaWait)
		}
		return answer, err
	})
}

func hasReplicas(info string) bool {
	_, n, ok := strings.Cut(info, "connected_slaves:")
	return ok && !strings.HasPrefix(n, "0")
}

// moved makes a cluster client look again where its slots are; a single node's
// client does not follow by itself.
func (s *Store) moved(ctx context.Context, err error) {
	if c, ok := s.rdb.(*redis.ClusterClient); ok && redis.HasErrorPrefix(err, "MOVED") {
		c.ReloadState(ctx)
	}
}
