// Command sbom writes what the programs of a folder are made of, by what the Go
// toolchain has stamped into them: FOLDER/sbom.cdx.json, a CycloneDX document. It is
// the same bytes for the same programs.
package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// name is the document's, beside the programs.
const name = "sbom.cdx.json"

func main() {
	version := flag.String("version", "", "version of the release")
	flag.Parse()
	for _, dir := range flag.Args() {
		if err := write(dir, *version); err != nil {
			fmt.Fprintln(os.Stderr, "sbom:", err)
			os.Exit(1)
		}
	}
}

func write(dir, version string) error {
	if version == "" {
		return fmt.Errorf("expected -version")
	}
	var programs []*debug.BuildInfo
	for _, program := range []string{"wsctl", "wsnode"} {
		info, err := buildinfo.ReadFile(filepath.Join(dir, program))
		if err != nil {
			return err
		}
		programs = append(programs, info)
	}
	text, err := document(programs, version)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), text, 0o644)
}

// document lists the modules of all programs.
func document(programs []*debug.BuildInfo, version string) ([]byte, error) {
	modules := map[string]cdx.Component{}
	for _, p := range programs {
		add(modules, "std", strings.TrimPrefix(p.GoVersion, "go"), "")
		for _, m := range p.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			add(modules, m.Path, m.Version, m.Sum)
		}
	}
	bom := cdx.NewBOM()
	main := component(programs[0].Main.Path, version, "")
	main.Type, main.Licenses = cdx.ComponentTypeApplication, &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}}
	bom.Metadata = &cdx.Metadata{Component: &main}
	all := slices.SortedFunc(maps.Values(modules), func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	bom.Components = &all
	var text bytes.Buffer
	if err := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

func add(modules map[string]cdx.Component, path, version, sum string) {
	c := component(path, version, sum)
	modules[c.BOMRef] = c
}

// component is a module. Its sum is that of go.sum, which is no hash of a file and
// therefore a property.
func component(path, version, sum string) cdx.Component {
	url := fmt.Sprintf("pkg:golang/%s@%s", path, version)
	c := cdx.Component{Type: cdx.ComponentTypeLibrary, BOMRef: url, Name: path, Version: version, PackageURL: url}
	if sum != "" {
		c.Properties = &[]cdx.Property{{Name: "go:sum", Value: sum}}
	}
	return c
}
