package configs

import (
	"fmt"
	"log/slog"
	"strings"
)

// Levels says what is logged, by part of the program.
type Levels struct {
	Rest  slog.Level
	Parts map[string]slog.Level
}

// ParseLevels reads GOLOG_LOG_LEVEL's form: info,chain=debug.
func ParseLevels(s string) (Levels, error) {
	out := Levels{Parts: map[string]slog.Level{}}
	for item := range strings.SplitSeq(s, ",") {
		part, text, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			part, text = "", part
		}
		var level slog.Level
		// go-log's other names, which operators of lotus have in their units.
		switch strings.ToLower(text) {
		case "dpanic", "panic", "fatal":
			text = "error"
		case "warning":
			text = "warn"
		}
		if err := level.UnmarshalText([]byte(text)); err != nil {
			return out, fmt.Errorf("%q is not a level", text)
		}
		if part == "" {
			out.Rest = level
		} else {
			out.Parts[part] = level
		}
	}
	return out, nil
}

// Of is the least level that a part logs.
func (l Levels) Of(part string) slog.Level {
	if v, ok := l.Parts[part]; ok {
		return v
	}
	return l.Rest
}
