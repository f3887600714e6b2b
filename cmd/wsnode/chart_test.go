package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/relay"
)

// The settings of the Helm chart are generated from the flags of serve: their list in
// values.yaml and their schema.
//
//go:generate go test -count=1 -run ^TestTheChartIsGenerated$ . -args -generate
var generate = flag.Bool("generate", false, "write the chart's generated files instead of comparing them")

const chart = "../../deploy/chart"

// durationPattern is what a duration of Go looks like.
const durationPattern = `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`

// settings are the flags of serve that are settings, by their names in values.
func settings() (flags map[string]*pflag.Flag, names []string) {
	flags = map[string]*pflag.Flag{}
	newServeCommand().Flags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[argumentOnly] != nil {
			return
		}
		words := strings.Split(f.Name, "-")
		for i, w := range words[1:] {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
		name := strings.Join(words, "")
		flags[name], names = f, append(names, name)
	})
	return flags, names // in the order of the help
}

// told is the help of a flag without its variable.
func told(f *pflag.Flag) string {
	text, _, _ := strings.Cut(f.Usage, " [$")
	return text
}

// schemaOf is the JSON schema of a flag's value.
func schemaOf(f *pflag.Flag) map[string]any {
	s := map[string]any{"description": told(f)}
	number := func(kind string) {
		s["type"], s["minimum"], s["default"] = kind, 0, json.Number(f.DefValue)
		if f.Name == "max-memory-bytes" {
			s["minimum"] = -1
		}
	}
	switch kind := f.Value.Type(); kind {
	case "bool":
		s["type"], s["default"] = "boolean", f.DefValue == "true"
	case "int", "int64":
		number("integer")
	case "float64":
		number("number")
	case "duration":
		s["type"], s["pattern"], s["default"] = "string", durationPattern, f.DefValue
	case "stringArray", "stringSlice":
		s["type"], s["items"] = "array", map[string]any{"type": "string", "minLength": 1}
	case "string":
		if s["type"] = "string"; f.DefValue != "" {
			s["default"] = f.DefValue
		}
	default:
		panic(fmt.Sprintf("--%s is a %s: say how the chart's schema spells that", f.Name, kind))
	}
	return s
}

// withSettings is the schema with the settings of now in it.
func withSettings(t *testing.T, text []byte) []byte {
	t.Helper()
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	properties := map[string]any{}
	flags, _ := settings()
	for name, f := range flags {
		properties[name] = schemaOf(f)
	}
	schema["properties"].(map[string]any)["settings"] = map[string]any{
		"type": "object", "additionalProperties": false, "properties": properties,
		"description": "Settings of wsnode serve",
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(schema); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const (
	settingsBegin = "  # begin of the settings: go generate ./cmd/wsnode\n"
	settingsEnd   = "  # end of the settings\n"
)

// listed is values.yaml with all settings as comments, each with its help and default.
func listed(t *testing.T, text []byte) []byte {
	t.Helper()
	before, rest, begins := strings.Cut(string(text), settingsBegin)
	_, after, ends := strings.Cut(rest, settingsEnd)
	if !begins || !ends {
		t.Fatalf("values.yaml lacks %q or %q", settingsBegin, settingsEnd)
	}
	var list strings.Builder
	flags, names := settings()
	for _, name := range names {
		f := flags[name]
		value := f.DefValue
		switch f.Value.Type() {
		case "string", "duration":
			value = strconv.Quote(value)
		}
		fmt.Fprintf(&list, "  #\n  # %s\n  # %s: %s\n", told(f), name, value)
	}
	return []byte(before + settingsBegin + list.String() + settingsEnd + after)
}

func TestTheChartIsGenerated(t *testing.T) {
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(chart, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, expected := range map[string][]byte{
		"values.schema.json": withSettings(t, read("values.schema.json")),
		"values.yaml":        listed(t, read("values.yaml")),
	} {
		if *generate {
			if err := os.WriteFile(filepath.Join(chart, name), expected, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if !bytes.Equal(read(name), expected) {
			t.Errorf("deploy/chart/%s is not what it is made of: go generate ./cmd/wsnode", name)
		}
	}
}

// The chart gives a node its drain settings and 15 s to end.
func TestANodeEndsWithinTheTimeThatTheChartGivesIt(t *testing.T) {
	helpers, err := os.ReadFile(filepath.Join(chart, "templates", "_helpers.tpl"))
	if err != nil {
		t.Fatal(err)
	}
	const after = `(get $settings "drainSpread"))) `
	_, rest, found := strings.Cut(string(helpers), after)
	seconds, err := strconv.Atoi(rest[:strings.IndexByte(rest+" ", ' ')])
	if !found || err != nil {
		t.Fatalf("no seconds after %q: %v", after, err)
	}
	if least := releaseTimeout + relay.CloseTimeout; float64(seconds) < least.Seconds() {
		t.Errorf("the chart adds %d s to the drain settings, a node may take %s more", seconds, least)
	}
}
