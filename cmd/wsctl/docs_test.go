package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
)

func TestEveryCommandHasAnExampleInOperations(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	// Those of the blocks that test/e2e/wsctl runs, with a store or without, those of two regions
	// with one, and those of shell blocks, which need what a test does not have, such as a store that is lost.
	var examples strings.Builder
	for _, block := range regexp.MustCompile("(?ms)^ *```(?:sh|sh stored|sh regions|shell)\n(.*?)^ *```$").FindAllSubmatch(text, -1) {
		for line := range strings.Lines(string(block[1])) {
			examples.WriteString("\n" + strings.TrimSpace(line) + " ")
		}
	}
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Name() == "completion" || cmd.Hidden {
			return
		}
		if !cmd.HasSubCommands() && cmd.Runnable() && !strings.Contains(examples.String(), "\n"+cmd.CommandPath()+" ") {
			t.Errorf("docs/operations.md has no example of %s", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(rootCommand(&command.Env{Console: &console.Console{}, Clusters: &reach.Clusters{}}))
}

func TestTracesInOperationsNeedNoLiveDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^ *wsctl trace (\S+)$`).FindAllSubmatch(text, -1)
	if len(lines) == 0 {
		t.Error("no trace is shown")
	}
	for _, line := range lines {
		if doc, err := reach.ParseDocument(string(line[1])); err != nil || doc.License == "" {
			t.Errorf("%s names no license region", line[0])
		}
	}
}

func TestEveryVerbSaysWhetherItChangesSomething(t *testing.T) {
	changing := map[string]bool{}
	for _, noun := range rootCommand(&command.Env{Console: &console.Console{}, Clusters: &reach.Clusters{}}).Commands() {
		filled := map[string]bool{}
		for _, verb := range noun.Commands() {
			if noun.Name() == "completion" || verb.Hidden {
				continue
			}
			filled[verb.GroupID] = true
			if verb.GroupID != command.GroupRead && verb.GroupID != command.GroupChange {
				t.Errorf("%s is in no group", verb.CommandPath())
			}
			asks := verb.Flags().Lookup("yes") != nil
			if asks != (verb.GroupID == command.GroupChange) {
				t.Errorf("%s: asks before %v, in group %s", verb.CommandPath(), asks, verb.GroupID)
			}
			changing[verb.CommandPath()] = asks
		}
		for _, group := range noun.Groups() {
			if !filled[group.ID] {
				t.Errorf("help of %s shows the group %s, which has no verb", noun.CommandPath(), group.ID)
			}
		}
	}
	for _, path := range []string{"wsctl pins release", "wsctl sessions kick", "wsctl nodes drain", "wsctl regions set", "wsctl pins move", "wsctl regions evacuate", "wsctl registry init", "wsctl history init"} {
		if !changing[path] {
			t.Errorf("%s does not say that it changes something", path)
		}
	}
}
