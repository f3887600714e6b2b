package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// programs is a folder with two programs: this test itself stands for both.
func programs(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"wsnode", "wsctl"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEachModuleOfTheProgramsIsInTheDocumentWithItsVersion(t *testing.T) {
	dir := programs(t)
	if err := write(dir, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if c := bom.Metadata.Component; c.Version != "v1.2.3" || c.Type != cdx.ComponentTypeApplication {
		t.Errorf("%+v", c)
	}
	listed := map[string]string{}
	for _, c := range *bom.Components {
		listed[c.Name] = c.Version
	}
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if listed[m.Path] != m.Version {
			t.Errorf("%s is listed as %q, expected %s", m.Path, listed[m.Path], m.Version)
		}
	}
	if len(listed) < 2 || !strings.HasPrefix(info.GoVersion, "go"+listed["std"]) {
		t.Errorf("%v", listed)
	}
	if err := write(dir, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(again, text) {
		t.Errorf("the second document is another one: %v", err)
	}
}

func TestAFolderWithoutProgramsHasNoDocument(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir, "v1"); err == nil {
		t.Error("a document of nothing")
	}
	if err := write(programs(t), ""); err == nil {
		t.Error("a document without a version")
	}
}
