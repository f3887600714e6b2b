package main

import (
	"strings"
	"testing"
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
			if code != exitUsage || !strings.Contains(said, flag+": expected together with --key") {
				t.Errorf("%s %s: exit code %d: %s", verb, flag, code, said)
			}
		}
	}
}

func TestHelpShowsNothingOfTheEnvironment(t *testing.T) {
	for _, variable := range []string{"WSCTL_NATS_URL", "WSCTL_CONTEXT", "WSCTL_NATS_CREDS", tokenVariable} {
		t.Setenv(variable, "opensesame")
	}
	for _, command := range []string{"--help", "nodes list --help", "trace --help"} {
		code, said := at(t, command)
		if code != 0 || strings.Contains(said, "opensesame") || !strings.Contains(said, "[$WSCTL_NATS_URL") {
			t.Errorf("%s: exit code %d:\n%s", command, code, said)
		}
	}
}
