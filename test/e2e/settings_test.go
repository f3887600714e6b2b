package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/issuer"
	"github.com/wsnode/wsnode/test/e2e/yjs"
	"github.com/wsnode/wsnode/test/wait"
)

func TestWrongSettingIsOneLineThatNamesTheFlag(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"--region": "eu-central-1", "--public-url": "ws://127.0.0.1:1", "--listen": "127.0.0.1:0",
		"--jwks-url": "http://127.0.0.1:1/keys", "--standalone": "", "--single-region": "",
	}
	for _, test := range []struct {
		what   string
		change map[string]string // "-" leaves the flag out
		names  string            // what the line must hold
	}{
		{"no region", map[string]string{"--region": "-"}, "--region"},
		{"bad region", map[string]string{"--region": "EU 1"}, "--region"},
		{"license region as region", map[string]string{"--region": "aws-eu-west-1"}, "--region"},
		{"no public URL", map[string]string{"--public-url": "-"}, "--public-url"},
		{"bad public URL", map[string]string{"--public-url": "eu.example"}, "--public-url"},
		{"no NATS", map[string]string{"--standalone": "-"}, "--nats-url"},
		{"two NATS", map[string]string{"--nats-url": "nats://127.0.0.1:1"}, "--standalone"},
		{"no registry", map[string]string{"--single-region": "-"}, "--registry"},
		{"bad registry", map[string]string{"--single-region": "-", "--registry": "aws-eu-west-1"}, "--registry"},
		{"no keys", map[string]string{"--jwks-url": "-"}, "--jwks-url"},
		{"bad keys", map[string]string{"--jwks-url": "keys"}, "--jwks-url"},
		{"a secret beside keys", map[string]string{"--hs256-secret-file": "/dev/null", "--default-tenant": "acme"}, "--hs256-secret-file"},
		{"a secret without its tenant", map[string]string{"--jwks-url": "-", "--hs256-secret-file": "/dev/null"}, "--default-tenant"},
		{"an empty secret", map[string]string{"--jwks-url": "-", "--hs256-secret-file": "/dev/null", "--default-tenant": "acme"}, "--hs256-secret-file"},
		{"a tenant that is none", map[string]string{"--default-tenant": "a/b"}, "--default-tenant"},
		{"an app that is none", map[string]string{"--default-app": "a b"}, "--default-app"},
		{"a license region that is not served", map[string]string{"--default-dbcode": "aws-mars-1"}, "--default-dbcode"},
		{"any audience of public keys", map[string]string{"--audience": "any"}, "--audience"},
		{"no grace", map[string]string{"--grace": "0s"}, "--grace"},
		{"broken grace", map[string]string{"--grace": "1500ms"}, "--grace"},
		{"PROXY protocol of anybody", map[string]string{"--proxy-protocol": ""}, "--proxy-protocol"},
		{"short lease", map[string]string{"--lease": "1s"}, "--lease"},
		{"long lease", map[string]string{"--lease": "1h"}, "--lease"},
		{"no such tenant's keys", map[string]string{"--jwks-url": "http://127.0.0.1:1/{tenant}"}, "--jwks-url"},
		{"half a placeholder", map[string]string{"--issuer": "https://issuer.example/{tenantId"}, "--issuer"},
		{"negative limit", map[string]string{"--max-connections": "-5"}, "--max-connections"},
		{"negative rate", map[string]string{"--session-messages-per-second": "-1"}, "--session-messages-per-second"},
		{"rate that is no number", map[string]string{"--session-messages-per-second": "NaN"}, "--session-messages-per-second"},
		{"negative memory", map[string]string{"--max-memory-bytes": "-2"}, "--max-memory-bytes"},
		{"negative delay", map[string]string{"--drain-delay": "-1s"}, "--drain-delay"},
		{"too little for large messages", map[string]string{"--max-incoming-bytes": "5"}, "--max-incoming-bytes"},
		{"profiles without a listener", map[string]string{"--pprof": "", "--admin-listen": "off"}, "--pprof"},
		{"seven times all traces", map[string]string{"--otlp-ratio": "7", "--otlp-endpoint": "http://127.0.0.1:1"}, "--otlp-ratio"},
		{"unknown argument", map[string]string{"extra": ""}, `unknown command "extra"`},
		{"bad format", map[string]string{"--log-format": "xml"}, "--log-format"},
		{"bad address", map[string]string{"--listen": "nowhere"}, "--listen"},
		{"unknown flag", map[string]string{"--no-such-flag": "1"}, "--no-such-flag"},
	} {
		t.Run(test.what, func(t *testing.T) {
			flags := maps.Clone(good)
			maps.Copy(flags, test.change)
			args := []string{"serve"}
			for flag, value := range flags {
				switch value {
				case "-":
				case "":
					args = append(args, flag)
				default:
					args = append(args, flag, value)
				}
			}
			p := cluster.RunWsnode(t, args...)
			code, out := p.Wait(), strings.TrimSpace(p.Output())
			if code != 2 || strings.Contains(out, "\n") || !strings.Contains(out, test.names) {
				t.Errorf("wsnode %q: exit code %d, output %q, expected 2 and one line that names %s", args, code, out, test.names)
			}
		})
	}
}

func TestTheDeployingSectionNamesSettingsThatExist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(cluster.Root(), "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Deploying\n")
	section, _, _ = strings.Cut(section, "\n## ")
	// What is run beside wsnode and wsctl has settings of its own.
	section = regexp.MustCompile("(?m)^systemctl .*$|`skopeo [^`]*`").ReplaceAllString(section, "")
	help := cluster.RunWsnode(t, "serve", "--help")
	help.Wait()
	known := help.Output() + cluster.Wsctl(t, "check", "--help") + cluster.Wsctl(t, "token", "jwks", "--help")
	settings := regexp.MustCompile(`--[a-z][a-z0-9-]+|WSNODE_[A-Z0-9_]+`)
	exist := map[string]bool{}
	for _, name := range settings.FindAllString(known, -1) {
		exist[name] = true
	}
	named := settings.FindAllString(section, -1)
	if len(named) < 20 {
		t.Errorf("only %d settings were found", len(named))
	}
	for _, name := range named {
		if !exist[name] && name != "WSNODE_" {
			t.Errorf("neither wsnode serve nor wsctl has %s", name)
		}
	}
}

func TestSettingsMayComeFromTheEnvironment(t *testing.T) {
	keys := issuer.New(t)
	listen := cluster.FreeAddress(t)
	for name, value := range map[string]string{
		"WSNODE_REGION": "eu-central-1", "WSNODE_PUBLIC_URL": "ws://" + listen, "WSNODE_LISTEN": listen,
		"WSNODE_JWKS_URL": keys.JWKS, "WSNODE_STANDALONE": "true", "WSNODE_SINGLE_REGION": "true",
		"WSNODE_LOG_FORMAT": "json", "WSNODE_GRACE": "2s",
	} {
		t.Setenv(name, value)
	}
	server := cluster.Started(t, cluster.RunWsnode(t, "serve"), listen)
	for line := range strings.Lines(strings.TrimSpace(server.Output())) {
		if !strings.HasPrefix(line, "{") {
			t.Errorf("not a JSON log line: %s", line)
		}
	}
	node := yjs.Start(t)
	token := keys.Token(nil)
	c := node.Join(yjs.Options{URL: server.WS(), Document: "doc", Token: token})
	clock := wait.Start()
	c.Destroy()
	cluster.WaitUnpinned(t, server.HTTP(), token, "doc", settle)
	if took := clock.Took(); took < grace/10 || clock.Exceeds(grace/2) {
		t.Errorf("grace took %v, expected the 2 s of WSNODE_GRACE", took)
	}
}
