package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	golog "github.com/ipfs/go-log/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/configs"
)

// logs makes the logger of each part of the program.
type logs struct {
	handler slog.Handler
	levels  configs.Levels
	close   func() error
}

func newLogs(c configs.Log, stderr io.Writer) (*logs, error) {
	levels, err := configs.ParseLevels(c.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	l := &logs{levels: levels, close: func() error { return nil }}
	w := stderr
	if c.File != "" {
		f, err := os.OpenFile(c.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
		if err != nil {
			return nil, fmt.Errorf("log.file: %w", err)
		}
		w, l.close = f, f.Close
	}
	all := &slog.HandlerOptions{Level: slog.Level(-128)} // the parts' levels decide
	switch {
	case c.Format == "json":
		l.handler = slog.NewJSONHandler(w, all)
	case c.Format == "color", c.Format == "text" && terminal(w) && os.Getenv("NO_COLOR") == "":
		l.handler = slog.NewTextHandler(colored{w}, all)
	default:
		l.handler = slog.NewTextHandler(w, all)
	}
	l.handler = newRepeats(l.handler)
	quieten(levels)
	redis.SetLogger(redisLog{l.of("redis")})
	return l, nil
}

// redisLog takes what go-redis writes by itself. Whatever keeps a command from its answer is
// also the command's error, told by who sent it; this is for who looks closer.
type redisLog struct{ log *slog.Logger }

// Printf implements go-redis's logger.
func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, fmt.Sprintf(format, args...))
}

// quieten keeps go-jsonrpc's own logger, which calls every closed connection an error, from
// writing to stderr; rpc=debug in log.level has it speak.
func quieten(levels configs.Levels) {
	level := "fatal"
	if l, ok := levels.Parts["rpc"]; ok {
		level = strings.ToLower(l.String())
	}
	_ = golog.SetLogLevel("rpc", level) // unknown to go-log: then it says nothing anyway
}

// of is the logger of a part, which log.level can name.
func (l *logs) of(part string) *slog.Logger {
	return slog.New(leveled{l.handler.WithAttrs([]slog.Attr{slog.String("part", part)}), l.levels.Of(part)})
}

// leveled drops what is below its level.
type leveled struct {
	slog.Handler
	least slog.Level
}

func (h leveled) Enabled(_ context.Context, l slog.Level) bool { return l >= h.least }
func (h leveled) WithAttrs(a []slog.Attr) slog.Handler {
	return leveled{h.Handler.WithAttrs(a), h.least}
}
func (h leveled) WithGroup(name string) slog.Handler {
	return leveled{h.Handler.WithGroup(name), h.least}
}

// colored marks warnings and errors on a terminal.
type colored struct{ io.Writer }

var marks = strings.NewReplacer("level=ERROR", "\x1b[31mlevel=ERROR\x1b[0m", "level=WARN", "\x1b[33mlevel=WARN\x1b[0m")

func (c colored) Write(p []byte) (int, error) {
	if _, err := marks.WriteString(c.Writer, string(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
