package console

import (
	"net/url"
	"regexp"
	"strings"
)

// Hide keeps a token that was given from being printed.
func (c *Console) Hide(token string) { c.secrets = append(c.secrets, token) }

// looksSecret matches tokens that wsctl was given where it expected something
// else.
var looksSecret = regexp.MustCompile(`eyJ[\w-]{8,}\.[\w-]+\.[\w-]*`)

// userOfURL matches who a URL says that one is: a password, or a token.
var userOfURL = regexp.MustCompile(`://[^\s/?#"]*@`)

// mayHoldUser matches a URL with an @ further on: in its path, or behind a password with
// characters that a URL has escaped.
var mayHoldUser = regexp.MustCompile(`[\w+.-]+://[^\s",…]*[/?#][^\s",]*@`)

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
	text = userOfURL.ReplaceAllString(looksSecret.ReplaceAllString(text, "…"), "://…@")
	return mayHoldUser.ReplaceAllStringFunc(text, func(raw string) string {
		if _, err := url.Parse(raw); err == nil { // the @ is in its path
			return raw
		}
		scheme, _, _ := strings.Cut(raw, "://")
		return scheme + "://…@"
	})
}
