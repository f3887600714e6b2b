package main

import (
	"strings"
	"testing"

	"github.com/wsnode/wsnode/relay/version"
)

func TestTheVersionIsToldWithItsProtocol(t *testing.T) {
	var said strings.Builder
	cmd := newVersionCommand()
	cmd.SetOut(&said)
	cmd.SetArgs([]string{})
	if err := cmd.Execute(); err != nil || said.String() != version.Read().String() {
		t.Errorf("%v: %s", err, &said)
	}
}

func TestShellsCompleteTheFlagsOfServe(t *testing.T) {
	for command, expected := range map[string]string{
		"completion bash": "complete -o default", "completion zsh": "#compdef wsnode", "completion fish": "complete -c wsnode",
		"completion powershell": "Register-ArgumentCompleter", "__complete serve --public-": "--public-url\t",
	} {
		var said strings.Builder
		root := newRootCommand()
		root.SetOut(&said)
		root.SetErr(&said)
		root.SetArgs(strings.Fields(command))
		if err := root.Execute(); err != nil || !strings.Contains(said.String(), expected) {
			t.Errorf("%s: %v, no %q in\n%s", command, err, expected, &said)
		}
	}
}
