package configs

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// decoder puts what viper found into a field, strictly: it collects what is wrong
// instead of guessing, where viper's own Unmarshal stops or converts silently.
type decoder struct {
	origin   func(key string) string
	problems []*Problem
}

func (d *decoder) fail(key string, v any, secret bool, what, remedy string) {
	p := &Problem{Key: key, Origin: d.origin(key), What: what, Remedy: remedy}
	if !secret {
		p.Value = show(v)
	}
	d.problems = append(d.problems, p)
}

// show writes a value as a person would, and nothing for none.
func show(v any) string {
	if v == nil {
		return ""
	}
	if s, ok := v.(string); ok {
		return strconv.Quote(s)
	}
	return fmt.Sprint(v)
}

// decode sets into from raw. text says that raw is a flag's or a variable's text and
// not a value of the YAML file.
func (d *decoder) decode(into reflect.Value, key string, raw any, text bool) {
	s, isString := raw.(string)
	secret := into.Type() == reflect.TypeFor[Secret]()
	wrong := func(want, remedy string) { d.fail(key, raw, secret, "not "+want, remedy) }
	switch t := into.Type(); {
	case isText(t):
		// YAML may have made a number of it: an octal one of 01000.
		if err := into.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(fmt.Sprint(raw))); err != nil {
			d.fail(key, raw, secret, err.Error(), "")
			return
		}
		if !isString {
			wrong("text", "put it in quotes")
		}
	case t == reflect.TypeFor[time.Duration]():
		v, err := time.ParseDuration(s)
		if !isString || err != nil {
			wrong("a duration", "write a number with its unit, such as 10s or 5m")
			return
		}
		into.SetInt(int64(v))
	case t.Kind() == reflect.String:
		if !isString {
			wrong("text", "put it in quotes")
			return
		}
		into.SetString(s)
	case t.Kind() == reflect.Bool:
		v, ok := raw.(bool)
		if text {
			ok = s == "true" || s == "false"
			v = s == "true"
		}
		if !ok {
			wrong("true or false", "write true or false")
			return
		}
		into.SetBool(v)
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64:
		n, err := strconv.ParseInt(fmt.Sprint(raw), 10, 64)
		if err != nil || isString && !text {
			wrong("a whole number", "write digits only, without quotes")
			return
		}
		into.SetInt(n)
	case t.Kind() == reflect.Slice:
		d.list(into, key, raw, text)
	case t.Kind() == reflect.Struct:
		d.entry(into, key, raw)
	default:
		panic("configs: no decoder for " + t.String()) // the round-trip test reads every field
	}
}

func (d *decoder) list(into reflect.Value, key string, raw any, text bool) {
	if s, ok := raw.(string); ok && text {
		raw = nil
		if err := yaml.Unmarshal([]byte(s), &raw); err != nil {
			raw = s
		}
	}
	items, ok := raw.([]any)
	if !ok {
		d.fail(key, raw, false, "not a list", "write it as in YAML: [a, b]")
		return
	}
	out := reflect.MakeSlice(into.Type(), len(items), len(items))
	for i, item := range items {
		d.decode(out.Index(i), fmt.Sprintf("%s[%d]", key, i), item, false)
	}
	into.Set(out)
}

func (d *decoder) entry(into reflect.Value, key string, raw any) {
	m, ok := raw.(map[string]any)
	if !ok {
		d.fail(key, raw, false, "not an entry with keys", "write it as in YAML: {"+into.Type().Field(0).Tag.Get("key")+": …}")
		return
	}
	at := map[string]int{}
	for i := range into.NumField() {
		at[into.Type().Field(i).Tag.Get("key")] = i
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		i, ok := at[name]
		if !ok {
			remedy := "its keys are " + strings.Join(slices.Sorted(maps.Keys(at)), ", ")
			if before, after, ok := strings.Cut(name, ":"); ok && m[name] == nil {
				remedy = fmt.Sprintf("YAML wants a space after the colon: %s: %s", before, after)
			}
			d.fail(key+"."+name, m[name], false, "no such key", remedy)
			continue
		}
		d.decode(into.Field(i), key+"."+name, m[name], false)
	}
}
