package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/viper"
	"gopkg.in/yaml.v3"
)

const envPrefix = "LPSEAL_"

// Source is what a caller knows beside files and environment.
type Source struct {
	// File is --config. It must exist; empty looks at $LPSEAL_CONFIG, then
	// $XDG_CONFIG_HOME/lpseal/lpseal.yaml, then /etc/lpseal/lpseal.yaml.
	File string
	// Flags are values given on the command line by dotted key, as text.
	Flags map[string]string
	// Alone reads File and Flags only: no variables and nothing of the machine. The demo
	// must never meet the node that FULLNODE_API_INFO names.
	Alone bool
}

// Loaded is a configuration and where each value came from.
type Loaded struct {
	Config Config
	File   string // the file read; empty if there was none

	origins map[string]string
	lines   map[string]int
	getenv  func(string) string
}

// Origin says where a value was written: a flag, a variable, FILE:LINE or "default".
func (l *Loaded) Origin(key string) string {
	if o := l.origins[key]; o != "" {
		return o
	}
	return "default"
}

// Load reads the configuration. The error joins a [Problem] for each thing wrong, in
// the order of the file; the configuration returned with it holds what could be read.
func Load(src Source) (*Loaded, error) {
	l := &Loaded{Config: Default(), origins: map[string]string{}, getenv: os.Getenv}
	if src.Alone {
		l.getenv = func(string) string { return "" }
	}
	v := viper.New()
	known := values(&l.Config)

	errs := l.readFile(v, src.File)
	errs = append(errs, setFlags(v, l, src.Flags, known)...)
	for _, f := range known {
		errs = append(errs, l.read(v, f)...)
	}
	if !src.Alone {
		errs = append(errs, strayEnv(known)...)
		if err := l.fallBack(); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, l.validate(errs)...)
	slices.SortStableFunc(errs, func(a, b *Problem) int { return l.line(a.Key) - l.line(b.Key) })
	return l, join(errs)
}

// line is where a key, or the entry that lacks it, stands in the file; 0 if it stands
// elsewhere.
func (l *Loaded) line(key string) int {
	for at := key; at != ""; at = at[:max(0, strings.LastIndexByte(at, '.'))] {
		if n := l.lines[at]; n > 0 {
			return n
		}
	}
	return 0
}

func join(problems []*Problem) error {
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p
	}
	return errors.Join(errs...)
}

// read puts the value of highest precedence into its field.
func (l *Loaded) read(v *viper.Viper, f field) []*Problem {
	names := []string{f.env()}
	if foreign := foreignEnv[f.key]; foreign != "" {
		names = append(names, foreign)
	}
	text := true
	switch variable := l.firstSet(names); {
	case l.origins[f.key] != "": // a flag
	case f.secret() && l.getenv(f.env()+"_FILE") != "":
		if p := l.secretFile(v, f, variable); p != nil {
			return []*Problem{p}
		}
	case variable != "":
		_ = v.BindEnv(f.key, variable) // fails without a key only
		l.origins[f.key] = variable
	case v.IsSet(f.key):
		l.origins[f.key], text = l.at(f.key), false
	default:
		return nil
	}
	d := decoder{origin: l.origin}
	d.decode(f.value, f.key, v.Get(f.key), text)
	return d.problems
}

func (l *Loaded) firstSet(names []string) string {
	for _, n := range names {
		if l.getenv(n) != "" {
			return n
		}
	}
	return ""
}

// secretFile reads LPSEAL_…_FILE, as container and systemd credentials are given.
func (l *Loaded) secretFile(v *viper.Viper, f field, variable string) *Problem {
	name := f.env() + "_FILE"
	p := &Problem{Key: f.key, Value: l.getenv(name), Origin: name}
	if variable == f.env() {
		p.What, p.Remedy = "the secret is given twice", "unset "+variable+" or "+name
		return p
	}
	b, err := os.ReadFile(p.Value)
	if err != nil {
		p.What, p.Remedy = fmt.Sprintf("its file cannot be read: %v", reason(err)), "name a file this user may read"
		return p
	}
	v.Set(f.key, string(b))
	l.origins[f.key] = name
	return nil
}

func setFlags(v *viper.Viper, l *Loaded, flags map[string]string, known []field) []*Problem {
	var out []*Problem
	for _, key := range slices.Sorted(maps.Keys(flags)) {
		if !slices.ContainsFunc(known, func(f field) bool { return f.key == key }) {
			out = append(out, unknown(key, "--set", known))
			continue
		}
		v.Set(key, flags[key])
		l.origins[key] = "flag"
	}
	return out
}

// origin of a value inside a list is its own line, or where the whole list was given.
func (l *Loaded) origin(key string) string {
	if _, ok := l.lines[key]; ok {
		return l.at(key)
	}
	list, _, _ := strings.Cut(key, "[")
	return l.origins[list]
}

func (l *Loaded) at(key string) string {
	if n := l.lines[key]; n > 0 {
		return fmt.Sprintf("%s:%d", l.File, n)
	}
	return l.File
}

// find gives the file to read; a file somebody named must exist.
func find(named string) (file string, must bool) {
	if named != "" {
		return named, true
	}
	if env := os.Getenv(envPrefix + "CONFIG"); env != "" {
		return env, true
	}
	dir := os.Getenv("XDG_CONFIG_HOME")
	if home, err := os.UserHomeDir(); dir == "" && err == nil {
		dir = filepath.Join(home, ".config")
	}
	own := filepath.Join(dir, "lpseal", "lpseal.yaml")
	if _, err := os.Stat(own); dir != "" && !errors.Is(err, fs.ErrNotExist) {
		return own, false
	}
	return "/etc/lpseal/lpseal.yaml", false
}

func (l *Loaded) readFile(v *viper.Viper, named string) []*Problem {
	file, must := find(named)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return nil
	}
	if err != nil {
		return []*Problem{{Key: file, What: reason(err).Error(), Remedy: "name a file this user may read; lpseal config default prints one"}}
	}
	l.File, l.lines = file, map[string]int{}
	v.SetConfigType("yaml")
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return []*Problem{malformed(file, err)}
	}
	if len(doc.Content) == 0 { // comments only
		return nil
	}
	problems := l.walkFile(doc.Content[0], "", fields(&l.Config))
	// What else viper can object to is a key that is written twice.
	if err := v.ReadConfig(bytes.NewReader(b)); err != nil && doc.Content[0].Kind == yaml.MappingNode {
		problems = append(problems, malformed(file, err))
	}
	return problems
}

// malformed tells in one line what a reader of YAML says in several.
func malformed(file string, err error) *Problem {
	what := strings.Join(strings.Fields(err.Error()), " ")
	for _, prefix := range []string{"While parsing config: ", "yaml: ", "unmarshal errors: "} {
		what = strings.TrimPrefix(what, prefix)
	}
	return &Problem{Key: file, What: what, Remedy: "lpseal config default prints a whole file"}
}

// reason is what is wrong with a file whose name was said already.
func reason(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

// walkFile notes every key's line and finds those that no field has. viper forgets lines, and
// takes any key in any case.
func (l *Loaded) walkFile(n *yaml.Node, prefix string, known []field) []*Problem {
	if n.Kind != yaml.MappingNode {
		if prefix == "" {
			return []*Problem{{Key: l.File, What: "not a file of keys and values", Remedy: "lpseal config default prints a whole file"}}
		}
		return []*Problem{{Key: strings.TrimSuffix(prefix, "."), Origin: fmt.Sprintf("%s:%d", l.File, n.Line), What: "a section is wanted here", Remedy: "lpseal config default shows its keys"}}
	}
	var out []*Problem
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := prefix + n.Content[i].Value
		l.lines[key] = n.Content[i].Line
		at := slices.IndexFunc(known, func(f field) bool { return f.key == key })
		switch {
		case at < 0:
			out = append(out, unknown(key, l.at(key), known))
		case known[at].section && n.Content[i+1].Tag != "!!null":
			out = append(out, l.walkFile(n.Content[i+1], key+".", known)...)
		default:
			l.noteLines(n.Content[i+1], key)
		}
	}
	return out
}

// noteLines notes the lines of a list's elements; the decoder judges their keys.
func (l *Loaded) noteLines(n *yaml.Node, key string) {
	switch n.Kind {
	case yaml.SequenceNode:
		for i, e := range n.Content {
			k := fmt.Sprintf("%s[%d]", key, i)
			l.lines[k] = e.Line
			l.noteLines(e, k)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := key + "." + n.Content[i].Value
			l.lines[k] = n.Content[i].Line
			l.noteLines(n.Content[i+1], k)
		}
	}
}

func unknown(key, origin string, known []field) *Problem {
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.key
	}
	remedy := "lpseal config default shows all keys"
	if n := Nearest(key, names); n != "" {
		remedy = "did you mean " + n + "?"
	}
	return &Problem{Key: key, Origin: origin, What: "no such key", Remedy: remedy}
}

// strayEnv finds misspelt variables. One that resembles nothing is not ours to judge:
// Kubernetes makes LPSEAL_PORT_… for a service of that name.
func strayEnv(known []field) []*Problem {
	names := make([]string, 0, len(known))
	for _, f := range known {
		names = append(names, strings.ToLower(f.env()))
		if f.secret() {
			names = append(names, strings.ToLower(f.env()+"_FILE"))
		}
	}
	var out []*Problem
	for _, kv := range slices.Sorted(slices.Values(os.Environ())) {
		name, _, _ := strings.Cut(kv, "=")
		low := strings.ToLower(name)
		if !strings.HasPrefix(name, envPrefix) || name == envPrefix+"CONFIG" || slices.Contains(names, low) {
			continue
		}
		if n := Nearest(low, names); n != "" {
			out = append(out, &Problem{Key: name, What: "no such variable", Remedy: "did you mean " + strings.ToUpper(n) + "?"})
		}
	}
	return out
}
