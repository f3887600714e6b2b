package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// fromEnvironment sets each flag that was not given from WSNODE_<FLAG>, and says
// so in the flag's help.
func fromEnvironment(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[argumentOnly] != nil {
			return
		}
		_, separated := separator(f)
		f.Usage += " [$" + variable(f.Name) + separated + "]"
	})
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) (err error) {
		if err := checkVariables(cmd, os.Environ()); err != nil {
			return err
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			value, set := os.LookupEnv(variable(f.Name))
			if !set || f.Changed || err != nil || f.Annotations[argumentOnly] != nil {
				return
			}
			values := []string{value}
			if separates, _ := separator(f); separates != nil {
				values = strings.FieldsFunc(value, separates)
			}
			for _, v := range values {
				if err == nil && cmd.Flags().Set(f.Name, v) != nil {
					err = wrongFlag(f.Name, "%s holds %q: expected %s", variable(f.Name), value, kind(f))
				}
			}
		})
		return err
	}
}

// argumentOnly annotates flags that say what a command is to do, which is nothing that a
// node's environment may say.
const argumentOnly = "argument only"

// kind says what a flag's value is, of those whose values can be wrong.
func kind(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true or false"
	case "duration":
		return "a duration such as 10s"
	case "float64":
		return "a number"
	case "int", "int64":
		return "a whole number"
	}
	return "a " + f.Value.Type()
}

// checkNumbers refuses negative numbers and durations, which mean nothing: what can
// be switched off is by 0.
func checkNumbers(fl *pflag.FlagSet) (err error) {
	fl.VisitAll(func(f *pflag.Flag) {
		switch f.Value.Type() {
		case "int", "int64", "float64", "duration":
			value := f.Value.String()
			senseless := strings.HasPrefix(value, "-") || value == "NaN" || value == "+Inf"
			if senseless && (f.Name != "max-memory-bytes" || value != "-1") {
				err = wrongFlag(f.Name, "%s: expected 0 or more", value)
			}
		}
	})
	return err
}

// separator tells what separates the values of a repeatable flag, nil for any other:
// white space, since commas separate the servers of one cluster. A header may hold
// spaces, so each has a line.
func separator(f *pflag.Flag) (separates func(rune) bool, inWords string) {
	_, repeatable := f.Value.(pflag.SliceValue)
	switch {
	case !repeatable:
		return nil, ""
	case f.Name == "otlp-header":
		return func(r rune) bool { return r == '\n' || r == '\r' }, ", one a line"
	}
	return unicode.IsSpace, ", separated by spaces"
}

const variablePrefix = "WSNODE_"

func variable(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// foreignVariables are read by others who may share a node's environment: NATS
// servers with former versions of deploy/nats, whose variables now begin with NATS_,
// and this repository's tests and tools, whose further ones begin with WSNODE_TEST_.
var foreignVariables = []string{
	"WSNODE_POD_PASSWORD", "WSNODE_OPERATOR_PASSWORD", "WSNODE_READER_PASSWORD", "WSNODE_REGISTRY_POD_PASSWORD",
	"WSNODE_BINARY", "WSNODE_CORPORA", "WSNODE_DIFFERENTIAL", "WSNODE_E2E_BINARIES", "WSNODE_E2E_RACE", "WSNODE_FAIRNESS", "WSNODE_IDLE", "WSNODE_IMPORTS",
	"WSNODE_CLAIMS", "WSNODE_HELD", "WSNODE_HOLD", "WSNODE_JOINS", "WSNODE_REGISTRY_TABLE",
	"WSNODE_SEED", "WSNODE_SOAK", "WSNODE_TORTURE", "WSNODE_TORTURE_SEED",
}

// checkVariables refuses variables that no command of wsnode knows: a setting that is
// misspelled would silently not hold.
func checkVariables(cmd *cobra.Command, environment []string) error {
	known := map[string]bool{}
	foreign := func(name string) bool {
		return slices.Contains(foreignVariables, name) || strings.HasPrefix(name, "WSNODE_TEST_")
	}
	for _, c := range append(cmd.Root().Commands(), cmd) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Annotations[argumentOnly] == nil {
				known[variable(f.Name)] = true
			}
		})
	}
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, variablePrefix) || known[name] || foreign(name) {
			continue
		}
		nearest, least := "", len(name)
		for _, candidate := range slices.Sorted(maps.Keys(known)) {
			if d := distance(name, candidate); d < least {
				nearest, least = candidate, d
			}
		}
		return usageError{fmt.Errorf("$%s is no setting of wsnode; the nearest is $%s (in Kubernetes, enableServiceLinks: false keeps those of Services away)", name, nearest)}
	}
	return nil
}

// distance is how many letters have to be put in, taken out or replaced to make b of
// a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
