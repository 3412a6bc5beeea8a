package configs

import (
	"encoding"
	"fmt"
	"reflect"
	"time"

	"gopkg.in/yaml.v3"
)

// plain turns a value into what YAML has: text for types that write themselves, entries
// by their keys and without those that say nothing.
func plain(v any) any {
	rv := reflect.ValueOf(v)
	switch t := v.(type) {
	case encoding.TextMarshaler:
		b, err := t.MarshalText()
		if err != nil {
			panic(fmt.Sprintf("configs: %T: %v", v, err)) // ours never fail
		}
		return string(b)
	case time.Duration:
		return t.String()
	}
	switch rv.Kind() {
	case reflect.Slice:
		out := make([]any, rv.Len())
		for i := range out {
			out[i] = plain(rv.Index(i).Interface())
		}
		return out
	case reflect.Struct:
		out := &yaml.Node{Kind: yaml.MappingNode}
		for i := range rv.NumField() {
			if rv.Field(i).IsZero() {
				continue
			}
			var name, value yaml.Node
			name.SetString(rv.Type().Field(i).Tag.Get("key"))
			if err := value.Encode(plain(rv.Field(i).Interface())); err != nil {
				panic(fmt.Sprintf("configs: %T: %v", v, err)) // plain values always encode
			}
			out.Content = append(out.Content, &name, &value)
		}
		return out
	}
	return v
}
