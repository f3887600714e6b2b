package main

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// heldToken are the flags of commands that use a token. It is read, never
// printed.
type heldToken struct {
	token, file string
	dev         tokenFlags // asks wsnode dev for one
}

const tokenVariable = "WSCTL_TOKEN"

func (f *heldToken) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.token, "token", "", "token of the client; others on this machine can see arguments, so better [$"+tokenVariable+"] or --token-file")
	fl.StringVar(&f.file, "token-file", "", "file with the token; - is standard input")
	fl.StringVar(&f.dev.devURL, "dev-url", "", "URL of a node of wsnode dev that issues a token")
}

// get returns the token, or "" if there is none.
func (f *heldToken) get(ctx context.Context, c *cli) (token string, err error) {
	switch {
	case f.token != "":
		token = strings.TrimSpace(f.token)
	case f.file != "":
		token, err = c.readToken(f.file)
	case f.dev.devURL != "":
		token, err = f.dev.ask(ctx, c.reach.timeout)
	default:
		token = strings.TrimSpace(os.Getenv(tokenVariable))
	}
	if token != "" {
		c.secrets = append(c.secrets, token)
	}
	return token, err
}

// readToken reads a token from a file, or from standard input for "-".
func (c *cli) readToken(file string) (string, error) {
	if file == "-" {
		if isTerminal(c.in.Reader) {
			c.done("wsctl: type or paste the token, then Ctrl-D; or name it by --token-file or $%s", tokenVariable)
		}
		text, err := io.ReadAll(io.LimitReader(c.in, maxAnswer))
		return strings.TrimSpace(string(text)), err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", wrongFlag("token-file", "%v", err)
	}
	return strings.TrimSpace(string(text)), nil
}
