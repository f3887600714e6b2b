package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/token"
)

// at runs wsctl without pointing it at a NATS.
func at(t *testing.T, command string) (code int, said string) {
	t.Helper()
	var out strings.Builder
	code = run(t.Context(), strings.Fields(command), strings.NewReader(""), &out, &out)
	return code, out.String()
}

func TestADevelopmentTokenIsNotAskedForWhatItCannotHold(t *testing.T) {
	for _, verb := range []string{"token", "token mint"} {
		for _, flag := range []string{"--document", "--issuer", "--audience", "--scope"} {
			code, said := at(t, verb+" --dev-url http://127.0.0.1:1 "+flag+" notes")
			if code != exit.Usage || !strings.Contains(said, flag+": expected together with --key") {
				t.Errorf("%s %s: exit code %d: %s", verb, flag, code, said)
			}
		}
	}
}

func TestAWrongCommandLineIsAWrongUsage(t *testing.T) {
	for command, says := range map[string]string{
		"bogus":                                                     `unknown command "bogus"`,
		"nodes bogus":                                               `unknown command "bogus"`,
		"nodes list extra":                                          "wsctl nodes list: expected no argument",
		"nodes list --bogus":                                        "--bogus",
		"nodes list --timeout 0s":                                   "--timeout",
		"nodes list --timeout -1s":                                  "--timeout",
		"nodes list --registry foo":                                 "--registry",
		"sessions list --registry foo":                              "--registry",
		"sessions list --remote nonsense":                           "--remote",
		"refusals list --remote nonsense":                           "--remote",
		"refusals watch --remote nonsense":                          "--remote",
		"check --monitor foo":                                       "--monitor",
		"registry check --monitor foo":                              "--monitor",
		"check --store foo":                                         "--store",
		"token inspect one two":                                     "at most 1",
		"token jwks":                                                "--key",
		"token --dev-url foo":                                       "--dev-url",
		"discover todo --url foo":                                   "--url",
		"bench fanout --url foo":                                    "--url",
		"bench fanout --url http://127.0.0.1:1":                     "--url",
		"bench fanout --protocol websocket":                         "--protocol",
		"bench idle":                                                "--pid",
		"bench fanout --clients 1 --duration 5s":                    "at least 2 clients",
		"store import --from tar -":                                 "--yes",
		"store import --from redis x":                               "hocuspocus-sqlite",
		"store import --from dir":                                   "the path or URL",
		"store import --from hocuspocus-sqlite x":                   "--tenant",
		"store import --from postgres://h/d --tenant t --app a":     "--query",
		"store import --from dir x --query select --tenant t --yes": "--query",
		"store delete":                                              "--tenant",
		"store delete a/b/c --tenant t":                             "--tenant",
		"store delete --app a":                                      "--tenant",
		"store adopt aws-eu-west-1":                                 "expected",
	} {
		if code, said := at(t, command); code != exit.Usage || !strings.Contains(said, says) {
			t.Errorf("%s: exit code %d, expected %d and %q: %s", command, code, exit.Usage, says, said)
		}
	}
}

func TestABenchmarkOfNoServerSaysWhichDoesNotAnswer(t *testing.T) {
	const nobody = "ws://127.0.0.1:1"
	code, said := at(t, "bench fanout --quiet --docs 1 --clients 2 --url "+nobody)
	if code != exit.Unavailable || !strings.Contains(said, nobody) {
		t.Errorf("exit code %d: %s", code, said)
	}
}

func TestHelpShowsNothingOfTheEnvironment(t *testing.T) {
	for _, variable := range []string{"WSCTL_NATS_URL", "WSCTL_CONTEXT", "WSCTL_NATS_CREDS", token.Variable} {
		t.Setenv(variable, "opensesame")
	}
	for _, command := range []string{"--help", "nodes list --help", "trace --help"} {
		code, said := at(t, command)
		if code != 0 || strings.Contains(said, "opensesame") || !strings.Contains(said, "[$WSCTL_NATS_URL") {
			t.Errorf("%s: exit code %d:\n%s", command, code, said)
		}
	}
}

func TestTheVersionIsToldWithoutANATS(t *testing.T) {
	for command, says := range map[string]string{"version": "\nprotocol ", "version -o json": `"protocol":`, "--version": "wsctl version "} {
		if code, said := at(t, command); code != 0 || !strings.Contains(said, says) {
			t.Errorf("%s: exit code %d: %s", command, code, said)
		}
	}
}

// What fails is told in parts by others: the flag parser, net/url, nats.go, the store.
func TestNoPasswordOfACommandLineIsPrinted(t *testing.T) {
	for _, command := range []string{
		"nats://op:%s@127.0.0.1:1",
		"nodes nats://op:%s@127.0.0.1:1",
		"nodes list --nats-url nats://op:%s@127.0.0.1:1",
		"nodes list --nats-url nats://op:%s@127.0.0.1:1,nats://op:%[1]s@127.0.0.1:2",
		"nodes list --nats-url nats://op:%s@127.0.0.1:port",
		"nodes list --nats-url http://op:%s@127.0.0.1:1",
		"nodes list --nats-url op:%s@127.0.0.1:1",
		"nodes list --nats-url file:nats://op:%s@127.0.0.1:1",
		"nodes list --timeout nats://op:%s@127.0.0.1:1",
		"nodes list --context nats://op:%s@127.0.0.1:1",
		"nodes list --nats-creds nats://op:%s@127.0.0.1:1",
		"nodes list --nats-inbox nats://op:%s@127.0.0.1:1",
		"pins list --registry X=nats://op:%s@127.0.0.1:1",
		"pins list --registry nats://op:%s@127.0.0.1:1",
		"pins list --registry aws-eu-west-1=nats://op:%s@127.0.0.1:port",
		"pins list --registry aws-eu-west-1=nats://op:%s@127.0.0.1:1 --nats-url nats://127.0.0.1:1 --timeout 100ms",
		"regions set eu-central-1 ws://op:%s@127.0.0.1:1 --yes --nats-url nats://127.0.0.1:1",
		"check --monitor ftp://op:%s@127.0.0.1:1",
		"check --monitor http://op:%s@127.0.0.1:port",
		"check --store op:%s@127.0.0.1",
		"check --store postgres://op:%s@127.0.0.1:port/d --nats-url nats://127.0.0.1:1",
		"discover todo --url http://op:%s@127.0.0.1:1",
		"discover todo --url http://op:%s@127.0.0.1:port",
		"discover todo --url http://op:%s@127.0.0.1:1 -o json",
		"token --dev-url http://op:%s@127.0.0.1:1",
		"token --dev-url ftp://op:%s@127.0.0.1:1",
		"bench fanout --docs 1 --clients 2 --url ws://op:%s@127.0.0.1:1",
		"bench fanout --docs 1 --clients 2 --url ws://op:%s@127.0.0.1:port",
		"bench fanout --docs 1 --clients 2 --token-url http://op:%s@127.0.0.1:1 --url ws://127.0.0.1:1",
		"store import --from postgres://op:%s@127.0.0.1:1/d --query select --tenant t --app a --yes",
		"store import --from postgres://op:%s@127.0.0.1:port/d --query select --tenant t --app a --yes",
		"store import --from s3://op:%s@127.0.0.1:1/d --tenant t --app a --yes",
		"store list --tenant nats://op:%s@127.0.0.1:1 --nats-url nats://127.0.0.1:1",
	} {
		for _, password := range []string{"open@sesame", "open/the?door#%sesame"} {
			code, said := at(t, fmt.Sprintf(command, password))
			if code == 0 || strings.Contains(said, "sesame") {
				t.Errorf("%s: exit code %d: %s", command, code, said)
			}
		}
	}
}
