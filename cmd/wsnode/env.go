package main

import (
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// fromEnvironment sets each flag that was not given from WSNODE_<FLAG>, and says
// so in the flag's help.
func fromEnvironment(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		_, separated := separator(f)
		f.Usage += " [$" + variable(f.Name) + separated + "]"
	})
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) (err error) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			value, set := os.LookupEnv(variable(f.Name))
			if !set || f.Changed || err != nil {
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

func variable(flag string) string {
	return "WSNODE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
