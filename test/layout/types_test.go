package layout

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// A type can be held in the head: CONTRIBUTING.md.
const (
	maxMethods = 50
	maxFields  = 30
	// maxWsctlMethods is for wsctl, where one type was given to all commands, and all of
	// them were its methods: 129.
	maxWsctlMethods = 20
	// plain is how many methods a struct may have that is a list, of settings or figures: of
	// such a list it does not matter how long it is.
	plain = 3
)

// size is how many methods and fields a type has.
type size struct{ methods, fields int }

// fits reports whether a type is as small as one has to be.
func (s size) fits(name string) bool {
	methods := maxMethods
	if strings.HasPrefix(name, "cmd/wsctl/") {
		methods = maxWsctlMethods
	}
	return s.methods <= methods && (s.fields <= maxFields || s.methods <= plain)
}

func TestTypesOfTheProductCanBeHeldInTheHead(t *testing.T) {
	sizes := typesOfTheProduct(t)
	if room := sizes["relay/room.Room"]; room.methods == 0 || room.fields == 0 {
		t.Fatalf("of %d types the room has %+v: they are counted wrongly", len(sizes), room)
	}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		if s := sizes[name]; !s.fits(name) {
			t.Errorf("%s has %d methods and %d fields: nobody can hold it in the head", name, s.methods, s.fields)
		}
	}
}

// typesOfTheProduct counts what the types of the product have, each named by its folder.
func typesOfTheProduct(t *testing.T) map[string]size {
	sizes := map[string]size{}
	eachDeclaration(t, func(folder string, d ast.Decl) {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv != nil {
				name := fmt.Sprintf("%s.%s", folder, receiver(d.Recv.List[0].Type))
				s := sizes[name]
				s.methods++
				sizes[name] = s
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if spec, ok := spec.(*ast.TypeSpec); ok {
					name := fmt.Sprintf("%s.%s", folder, spec.Name.Name)
					s := sizes[name]
					s.fields, s.methods = count(spec.Type, s.methods)
					sizes[name] = s
				}
			}
		}
	})
	return sizes
}

// methodsOfTheProduct are the methods of the product's types, each named by its folder.
func methodsOfTheProduct(t *testing.T) (names []string) {
	eachDeclaration(t, func(folder string, d ast.Decl) {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
			names = append(names, fmt.Sprintf("%s.%s.%s", folder, receiver(f.Recv.List[0].Type), f.Name.Name))
		}
	})
	return names
}

// eachDeclaration calls f with what the Go files of the product declare, and their folder.
func eachDeclaration(t *testing.T, f func(folder string, d ast.Decl)) {
	t.Helper()
	list, err := exec.Command("git", "-C", "../..", "ls-files", "*.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(list)) {
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "test/") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), "../../"+name, nil, parser.SkipObjectResolution)
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f(path.Dir(name), d)
		}
	}
}

// receiver is the name of the type that a method belongs to.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// count returns the fields of a struct, and the methods of an interface on top of so many.
func count(e ast.Expr, methods int) (fields, sum int) {
	switch e := e.(type) {
	case *ast.StructType:
		return e.Fields.NumFields(), methods
	case *ast.InterfaceType:
		return 0, methods + e.Methods.NumFields()
	}
	return 0, methods
}
