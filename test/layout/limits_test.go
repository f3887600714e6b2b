package layout

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/authn"
)

// A limit that tokens may set is a row of authn.LimitClaims, and one place that applies
// it: docs/quota.md. What else read a limit's field would have to be changed with it.
func TestEachLimitOfTokensIsAppliedInOnePlace(t *testing.T) {
	var fields []string
	for _, claim := range authn.LimitClaims {
		fields = append(fields, strings.ToUpper(claim.Name[:1])+claim.Name[1:])
	}
	appliedIn := map[string][]string{}
	for path, p := range ours(t) {
		if path == "authn" {
			continue
		}
		for _, file := range p.GoFiles {
			source, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, field := range fields {
				for range strings.Count(string(source), ".Limits."+field) {
					appliedIn[field] = append(appliedIn[field], path+"/"+file)
				}
			}
		}
	}
	for _, field := range fields {
		in := "relay/gate.go"
		if field == "OpsPerMinute" { // a session's, as long as it lives
			in = "relay/guard.go"
		}
		if !slices.Equal(appliedIn[field], []string{in}) {
			t.Errorf("%s is read in %v, expected once in %s", field, appliedIn[field], in)
		}
	}
}
