package token

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/web"
)

// Held are the flags of commands that use a token. It is read, never
// printed.
type Held struct {
	token, file string
	dev         tokenFlags // asks wsnode dev for one
}

// Variable is the environment variable that may hold a token.
const Variable = "WSCTL_TOKEN"

// Register adds the flags.
func (f *Held) Register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.token, "token", "", "token of the client; others on this machine can see arguments, so better [$"+Variable+"] or --token-file")
	fl.StringVar(&f.file, "token-file", "", "file with the token; - is standard input")
	fl.StringVar(&f.dev.devURL, "dev-url", "", "URL of a node of wsnode dev that issues a token")
}

// Get returns the token, or "" if there is none.
func (f *Held) Get(ctx context.Context, c *command.Env) (token string, err error) {
	switch {
	case f.token != "":
		token = strings.TrimSpace(f.token)
	case f.file != "":
		token, err = readToken(c.Console, f.file)
	case f.dev.devURL != "":
		token, err = f.dev.ask(ctx, c.Clusters.Timeout)
	default:
		token = strings.TrimSpace(os.Getenv(Variable))
	}
	if token != "" {
		c.Hide(token)
	}
	return token, err
}

// readToken reads a token from a file, or from standard input for "-".
func readToken(c *console.Console, file string) (string, error) {
	if file == "-" {
		if c.In.Terminal {
			c.Done("wsctl: type or paste the token, then Ctrl-D; or name it by --token-file or $%s", Variable)
		}
		text, err := io.ReadAll(io.LimitReader(c.In, web.MaxAnswer))
		return strings.TrimSpace(string(text)), err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", exit.WrongFlag("token-file", "%v", err)
	}
	return strings.TrimSpace(string(text)), nil
}
