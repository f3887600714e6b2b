package console

import (
	"regexp"
	"strings"

	"github.com/wsnode/wsnode/cmd/conceal"
)

// Hide keeps a token that was given from being printed.
func (c *Console) Hide(token string) { c.secrets = append(c.secrets, token) }

// looksSecret matches tokens that wsctl was given where it expected something
// else.
var looksSecret = regexp.MustCompile(`eyJ[\w-]{8,}\.[\w-]+\.[\w-]*`)

// shortestSecret is shorter than any token, and longer than a word that may be a
// part of what is said.
const shortestSecret = 16

// Conceal takes tokens and the passwords of URLs out of a text.
func (c *Console) Conceal(text string) string {
	for _, secret := range c.secrets {
		if len(secret) >= shortestSecret {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return conceal.URLs(looksSecret.ReplaceAllString(text, "…"))
}
