package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/relay"
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
	cmd, root := newDevCommand(), &cobra.Command{}
	root.AddCommand(cmd, newServeCommand())
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
		if err := f.identity(&relay.Options{PublicURL: f.publicURL}); err == nil || !strings.Contains(err.Error(), "--node") {
			t.Errorf("%q: %v", id, err)
		}
	}
	f := serveFlags{region: "eu-central-1", node: "a.b-c_1", listen: ":0"}
	if err := f.identity(&relay.Options{PublicURL: "wss://eu.example"}); err != nil {
		t.Error(err)
	}
}

func TestAValueOfTheEnvironmentThatCannotBeReadSaysWhatIsExpected(t *testing.T) {
	for name, expected := range map[string]string{
		"max-connections": "expected a whole number", "max-memory-bytes": "expected a whole number",
		"otlp-ratio": "expected a number", "pprof": "expected true or false", "grace": "expected a duration such as 10s",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(variable(name), "some")
			cmd := newServeCommand()
			if err := cmd.PreRunE(cmd, nil); err == nil || !strings.HasSuffix(err.Error(), expected) {
				t.Error(err)
			}
		})
	}
}

func TestAnUnknownCommandIsWrongUsage(t *testing.T) {
	for _, args := range [][]string{{"foo"}, {"dev", "extra"}} {
		if code := run(t.Context(), args, io.Discard); code != exitUsage {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}

func TestNoPasswordOfACommandLineIsPrinted(t *testing.T) {
	for _, args := range []string{
		"nats://op:%s@nats:4222", "serve nats://op:%s@nats:4222", "serve --drain-delay nats://op:%s@nats:4222",
		"serve --region eu-central-1 --public-url http://op:%s@nats:4222",
		"serve --region nats://op:%s@nats:4222", "dev --regions nats://op:%s@nats:4222",
	} {
		for _, password := range []string{"opensesame", "open/sesame"} {
			var errs strings.Builder
			code := run(t.Context(), strings.Fields(fmt.Sprintf(args, password)), &errs)
			if code == 0 || errs.Len() == 0 || strings.Contains(errs.String(), "sesame") {
				t.Errorf("%s: exit code %d: %s", args, code, errs.String())
			}
		}
	}
}

func TestTheLongestLeaseIsOneThatTheRegistryTakes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := kvpin.Open(ctx, kvpin.Config{
		Region: "eu-central-1", Node: "a", LeaseTTL: longestLease,
		Registries: map[docid.LicenseRegion]kvpin.Source{"aws-eu-west-1": {URL: "nats://127.0.0.1:1"}},
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAWrongURLOfNATSIsNotShownWithItsPassword(t *testing.T) {
	for _, urls := range []string{"nats://node:s3cret@", "http://node:s3cret@nats:4222", "nats://node:s3cret@nats:port", "nats://a:4222,nats://node:s3cret@%zz"} {
		f := serveFlags{natsURL: urls, historyReplicas: 1, registries: registryFlags{replicas: 1, lease: 10 * time.Second}}
		errs := map[string]error{"--nats-url": f.connection(&relay.Options{})}
		f.registries.urls = []string{"aws-eu-west-1=" + urls}
		errs["--registry"] = f.registry(&relay.Options{})
		for flag, err := range errs {
			if err == nil || !strings.Contains(err.Error(), flag) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s %s: %v", flag, urls, err)
			}
		}
	}
}

// Tests start nodes that inherit these.
func TestNodesKnowTheVariablesOfTheTaskfile(t *testing.T) {
	text, err := os.ReadFile("../../Taskfile.yml")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`WSNODE_[A-Z0-9_]+`).FindAllString(string(text), -1)
	if len(names) < 10 {
		t.Errorf("only %d variables were found", len(names))
	}
	for _, name := range names {
		if err := checkVariables(newServeCommand(), []string{name + "=1"}); err != nil {
			t.Error(err)
		}
	}
}

func TestAVariableThatNoSettingReadsIsAnErrorThatNamesTheNearest(t *testing.T) {
	for name, nearest := range map[string]string{
		"WSNODE_NATS_URLS": "WSNODE_NATS_URL", "WSNODE_REGISTERY": "WSNODE_REGISTRY", "WSNODE_LISTENN": "WSNODE_LISTEN", "WSNODE_SERVICE_PORT": "WSNODE_",
	} {
		cmd := newServeCommand()
		err := checkVariables(cmd, []string{"PATH=/bin", "WSNODE_REGION=a", name + "=secret"})
		if wrong := (usageError{}); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "$"+name+" ") || !strings.Contains(err.Error(), "$"+nearest) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Those of another command, of former versions' NATS servers and of tests are known.
	root := &cobra.Command{}
	serve := newServeCommand()
	root.AddCommand(serve, newDevCommand())
	if err := checkVariables(serve, []string{"WSNODE_REGIONS=a", "WSNODE_POD_PASSWORD=p", "WSNODE_SOAK=1", "WSNODES=1", "WSNODE_NATS_URL=a"}); err != nil {
		t.Error(err)
	}
	t.Setenv("WSNODE_NATS_ULR", "nats://a:4222")
	if err := serve.PreRunE(serve, nil); err == nil || !strings.Contains(err.Error(), "$WSNODE_NATS_URL ") {
		t.Error(err)
	}
}
