package main

import (
	"slices"
	"strings"
	"testing"
)

func TestTheEnvironmentGivesRepeatableFlagsSeveralValues(t *testing.T) {
	for name, c := range map[string]struct {
		value    string
		expected []string
	}{
		"registry": {" aws-eu-west-1=nats://a:4222,nats://b:4222  aws-us-east-1=nats://c:4222\n",
			[]string{"aws-eu-west-1=nats://a:4222,nats://b:4222", "aws-us-east-1=nats://c:4222"}},
		"trusted-proxy": {"10.0.0.0/8 fd00::/8", []string{"10.0.0.0/8", "fd00::/8"}},
		"otlp-header":   {"Authorization=Bearer abc==\nX-Tenant=acme\n", []string{"Authorization=Bearer abc==", "X-Tenant=acme"}},
	} {
		t.Setenv(variable(name), c.value)
		cmd := newServeCommand()
		if err := cmd.PreRunE(cmd, nil); err != nil {
			t.Fatal(err)
		}
		got, err := cmd.Flags().GetStringArray(name)
		if err != nil || !slices.Equal(got, c.expected) {
			t.Errorf("%s: %q %v, expected %q", name, got, err, c.expected)
		}
		if usage := cmd.Flags().Lookup(name).Usage; !strings.Contains(usage, variable(name)+", ") {
			t.Errorf("%s does not say how to give several: %s", name, usage)
		}
	}
	t.Setenv("WSNODE_REGIONS", "here,there")
	cmd := newDevCommand()
	if err := cmd.PreRunE(cmd, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := cmd.Flags().GetStringSlice("regions"); err != nil || !slices.Equal(got, []string{"here", "there"}) {
		t.Errorf("regions: %q %v", got, err)
	}
}

func TestANodeIDThatTheRegistryWouldNotTakeIsNamed(t *testing.T) {
	for _, id := range []string{".a", "a.", "a..b", ".", "a b", strings.Repeat("a", 65)} {
		f := serveFlags{region: "eu-central-1", node: id, publicURL: "wss://eu.example", listen: ":0"}
		if err := f.identity(&podConfig{publicURL: f.publicURL}); err == nil || !strings.Contains(err.Error(), "--node") {
			t.Errorf("%q: %v", id, err)
		}
	}
	f := serveFlags{region: "eu-central-1", node: "a.b-c_1", listen: ":0"}
	if err := f.identity(&podConfig{publicURL: "wss://eu.example"}); err != nil {
		t.Error(err)
	}
}
