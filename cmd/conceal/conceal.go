// Package conceal takes passwords out of what both commands print.
package conceal

import (
	"net/url"
	"regexp"
	"strings"
)

// userOfURL matches who a URL says that one is: a password, or a token.
var userOfURL = regexp.MustCompile(`://[^\s/?#"]*@`)

// mayHoldUser matches a URL with an @ further on: in its path, or behind a password with
// characters that a URL has escaped.
var mayHoldUser = regexp.MustCompile(`[\w+.-]+://[^\s",…]*[/?#][^\s",]*@`)

// URLs takes users and passwords out of the URLs in a text: errors quote what a flag was
// given, whatever is wrong with it.
func URLs(text string) string {
	text = userOfURL.ReplaceAllString(text, "://…@")
	return mayHoldUser.ReplaceAllStringFunc(text, func(raw string) string {
		if _, err := url.Parse(raw); err == nil { // the @ is in its path
			return raw
		}
		scheme, _, _ := strings.Cut(raw, "://")
		return scheme + "://…@"
	})
}
