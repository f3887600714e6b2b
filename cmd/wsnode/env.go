package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// fromEnvironment sets each flag that was not given from WSNODE_<FLAG>, and says
// so in the flag's help. A repeatable flag takes its values separated by commas.
func fromEnvironment(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Usage += " [$" + variable(f.Name) + "]" })
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) (err error) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			value, set := os.LookupEnv(variable(f.Name))
			if !set || f.Changed || err != nil {
				return
			}
			if setErr := cmd.Flags().Set(f.Name, value); setErr != nil {
				err = wrongFlag(f.Name, "%s holds %q: expected a %s", variable(f.Name), value, f.Value.Type())
			}
		})
		return err
	}
}

func variable(flag string) string {
	return "WSNODE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
