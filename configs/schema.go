package configs

import (
	"encoding"
	"reflect"
	"strings"
)

// field is one place in the configuration that holds a value: everything but sections.
type field struct {
	key     string // dotted
	doc     string
	example string
	depth   int
	section bool
	value   reflect.Value // addressable, inside one Config
}

// env is the variable that sets the field.
func (f field) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(f.key, ".", "_"))
}

// foreignEnv are the variables that operators of lotus set already; ours come first.
var foreignEnv = map[string]string{
	"chain.api":  "FULLNODE_API_INFO",
	"log.level":  "GOLOG_LOG_LEVEL",
	"log.format": "GOLOG_LOG_FMT",
	"log.file":   "GOLOG_FILE",
}

func (f field) secret() bool { return f.value.Type() == reflect.TypeFor[Secret]() }

// fields lists sections and values of a Config in the order of the file.
func fields(c *Config) []field { return walk(reflect.ValueOf(c).Elem(), "", 0) }

func walk(v reflect.Value, prefix string, depth int) []field {
	var out []field
	for i := range v.NumField() {
		tag, fv := v.Type().Field(i).Tag, v.Field(i)
		f := field{key: prefix + tag.Get("key"), doc: tag.Get("doc"), example: tag.Get("example"), depth: depth, value: fv}
		f.section = fv.Kind() == reflect.Struct && !isText(fv.Type())
		out = append(out, f)
		if f.section {
			out = append(out, walk(fv, f.key+".", depth+1)...)
		}
	}
	return out
}

// values are the fields that hold one.
func values(c *Config) []field {
	var out []field
	for _, f := range fields(c) {
		if !f.section {
			out = append(out, f)
		}
	}
	return out
}

// isText says that a type reads itself from text.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}
