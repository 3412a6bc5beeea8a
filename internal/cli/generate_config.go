package cli

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/lpseal/lpseal/configs"
)

// writeConfig prints every key of the configuration from its struct tags.
func writeConfig(w io.Writer) error {
	heading(w, "Configuration", `Flags come before `+"`LPSEAL_*`"+` variables, these before the file, and that before the defaults. The file is the one of
`+"`--config`"+`, else `+"`$LPSEAL_CONFIG`"+`, else `+"`$XDG_CONFIG_HOME/lpseal/lpseal.yaml`"+`, else `+"`/etc/lpseal/lpseal.yaml`"+`.

`+"`lpseal config default`"+` prints the file [default.yaml](default.yaml), `+"`lpseal config view --origin`"+` the configuration in force and where
each value was written, `+"`lpseal config check`"+` everything that is wrong with it. Any key is also a flag: `+"`--set redis.url=redis://r1:6379`"+`.
A key marked *secret* is never printed, and can be given by a file: `+"`LPSEAL_WEB_TOKEN_FILE=/etc/lpseal/token`"+`.`)
	c := configs.Default()
	return writeSection(w, reflect.ValueOf(c), "")
}

// writeSection prints the values of a section as a table, then its sections and the entries of
// its lists.
func writeSection(w io.Writer, v reflect.Value, prefix string) error {
	var body [][]string
	var entries, sections []func() error
	for i := range v.NumField() {
		tag, fv := v.Type().Field(i).Tag, v.Field(i)
		key, doc := prefix+tag.Get("key"), tag.Get("doc")
		if fv.Kind() == reflect.Struct && !isText(fv) {
			sections = append(sections, func() error {
				fmt.Fprintf(w, "\n## %s\n\n%s\n", key, doc)
				return writeSection(w, fv, key+".")
			})
			continue
		}
		if fv.Kind() == reflect.Slice {
			entries = append(entries, func() error {
				fmt.Fprintf(w, "\n### An entry of %s\n\nFor example: `%s`\n", key, tag.Get("example"))
				writeEntry(w, fv.Type().Elem())
				return nil
			})
		}
		if fv.Type() == reflect.TypeFor[configs.Secret]() {
			doc = "*Secret.* " + doc
		}
		text, err := plainText(fv)
		if err != nil {
			return fmt.Errorf("default of %s: %w", key, err)
		}
		env := "LPSEAL_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
		body = append(body, []string{code(key), text, code(env), cell(doc)})
	}
	if len(body) > 0 {
		rows(w, []string{"key", "default", "variable", "what it is"}, body)
	}
	for _, next := range append(entries, sections...) {
		if err := next(); err != nil {
			return err
		}
	}
	return nil
}

func writeEntry(w io.Writer, t reflect.Type) {
	var body [][]string
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		body = append(body, []string{code(tag.Get("key")), cell(tag.Get("doc"))})
	}
	rows(w, []string{"key", "what it is"}, body)
}

func isText(v reflect.Value) bool {
	_, ok := v.Interface().(encoding.TextMarshaler)
	return ok
}

// plainText is a default as it is written in the file; a dash for what is empty.
func plainText(v reflect.Value) (string, error) {
	text := ""
	switch t := v.Interface().(type) {
	case encoding.TextMarshaler:
		b, err := t.MarshalText()
		if err != nil {
			return "", err
		}
		text = string(b)
	case time.Duration:
		text = t.String()
	default:
		if v.Kind() != reflect.Slice || v.Len() > 0 {
			text = fmt.Sprint(t)
		}
	}
	if text == "" {
		return "–", nil
	}
	return code(text), nil
}

// cell keeps a text from ending a table's cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
