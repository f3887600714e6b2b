package authn_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/authn"
)

// A further limit is a row in this table, and one place that applies it.
func TestEveryLimitIsARowOfTheTable(t *testing.T) {
	var l authn.Limits
	for i, claim := range authn.LimitClaims {
		if field := claim.Field(&l); *field != 0 {
			t.Errorf("%s sets a field that another row sets", claim.Name)
		} else {
			*field = i + 1
		}
		if l.Set()[claim.Name] != i+1 {
			t.Errorf("%s is not among those that are set: %v", claim.Name, l.Set())
		}
		for _, document := range []string{"../docs/protocol.md", "../docs/dev-endpoints.md", "../docs/quota.md"} {
			text, err := os.ReadFile(document)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), "`"+claim.Name+"`") {
				t.Errorf("%s does not name %s", document, claim.Name)
			}
		}
	}
	for i := range reflect.TypeFor[authn.Limits]().NumField() {
		if reflect.ValueOf(l).Field(i).IsZero() {
			t.Errorf("no row sets %s", reflect.TypeFor[authn.Limits]().Field(i).Name)
		}
	}
}
