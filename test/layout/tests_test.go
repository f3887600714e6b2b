package layout

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var (
	named  = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]+)`")
	tested = regexp.MustCompile(`(?m)^func (Test[A-Z][A-Za-z0-9]+)\(`)
)

// Documents say by which tests they are true.
func TestTestsThatDocumentsNameAreThere(t *testing.T) {
	list, err := exec.Command("git", "-C", "../..", "ls-files", "*_test.go", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	there, wanted := map[string]bool{}, map[string]string{}
	for _, file := range strings.Fields(string(list)) {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".md") {
			for _, n := range named.FindAllSubmatch(text, -1) {
				wanted[string(n[1])] = file
			}
			continue
		}
		for _, n := range tested.FindAllSubmatch(text, -1) {
			there[string(n[1])] = true
		}
	}
	if len(wanted) == 0 || len(there) == 0 {
		t.Fatalf("%d names in documents and %d tests: that cannot be all", len(wanted), len(there))
	}
	for name, file := range wanted {
		if !there[name] {
			t.Errorf("%s names %s, which is no test", file, name)
		}
	}
}
