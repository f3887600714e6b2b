package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEveryCommandHasAnExampleInOperations(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Name() == "completion" || cmd.Hidden {
			return
		}
		if !cmd.HasSubCommands() && cmd.Runnable() && !strings.Contains(string(text), cmd.CommandPath()) {
			t.Errorf("%s is not in docs/operations.md", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check((&cli{}).rootCommand())
}

func TestEveryVerbSaysWhetherItChangesSomething(t *testing.T) {
	changing := map[string]bool{}
	for _, noun := range (&cli{}).rootCommand().Commands() {
		for _, verb := range noun.Commands() {
			if noun.Name() == "completion" {
				continue
			}
			if verb.GroupID != groupRead && verb.GroupID != groupChange {
				t.Errorf("%s is in no group", verb.CommandPath())
			}
			asks := verb.Flags().Lookup("yes") != nil
			if asks != (verb.GroupID == groupChange) {
				t.Errorf("%s: asks before %v, in group %s", verb.CommandPath(), asks, verb.GroupID)
			}
			changing[verb.CommandPath()] = asks
		}
	}
	for _, path := range []string{"wsctl pins release", "wsctl sessions kick", "wsctl nodes drain", "wsctl regions set"} {
		if !changing[path] {
			t.Errorf("%s does not say that it changes something", path)
		}
	}
}
