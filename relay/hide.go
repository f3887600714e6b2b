package relay

import (
	"regexp"
	"strings"
)

// tokenShape is that of a JSON Web Token: its first part begins with {" in base64.
var tokenShape = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?`)

// withoutTokens spells, for operators, a name that no token has vouched for. A
// page that writes "/doc&token=JWT" where "?" belongs puts its token into the name.
func withoutTokens(name string) string {
	if !strings.Contains(name, "eyJ") {
		return name
	}
	return tokenShape.ReplaceAllString(name, "(token)")
}
