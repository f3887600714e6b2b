package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/relay"
)

const unitFile = "../../deploy/systemd/wsnode.service"

// readUnit reads the unit's settings, each with its values in their order.
func readUnit(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unit, section := map[string][]string{}, ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		name, value, isSetting := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		case isSetting:
			unit[section+"."+name] = append(unit[section+"."+name], value)
		default:
			t.Fatalf("neither a section nor a setting: %q", line)
		}
	}
	return unit
}

// one is the value of a setting that stands once.
func one(t *testing.T, unit map[string][]string, name string) string {
	t.Helper()
	if len(unit[name]) != 1 {
		t.Fatalf("%s=%q, expected one value", name, unit[name])
	}
	return unit[name][0]
}

func TestTheUnitsSettingsAreThoseOfServe(t *testing.T) {
	unit := readUnit(t)
	if words := strings.Fields(one(t, unit, "Service.ExecStart")); len(words) != 2 || filepath.Base(words[0]) != "wsnode" || words[1] != "serve" {
		t.Errorf("ExecStart=%q", words)
	}
	settings := map[string]string{}
	for _, value := range unit["Service.Environment"] {
		name, value, _ := strings.Cut(value, "=")
		settings[name] = value
		if strings.HasPrefix(name, variablePrefix) {
			t.Setenv(name, value)
		}
	}
	serve := newServeCommand()
	if err := serve.PreRunE(serve, nil); err != nil {
		t.Fatal(err) // unknown, or no value of its flag
	}
	var drain time.Duration
	for _, flag := range []string{"drain-delay", "drain-spread"} {
		d, err := serve.Flags().GetDuration(flag)
		if err != nil || settings[variable(flag)] == "" {
			t.Fatalf("%s is not set: %v", variable(flag), err)
		}
		drain += d
	}
	seconds, err := strconv.Atoi(one(t, unit, "Service.TimeoutStopSec"))
	least := drain + releaseTimeout + relay.CloseTimeout
	if stop := time.Duration(seconds) * time.Second; err != nil || stop < least {
		t.Errorf("TimeoutStopSec is %s, a node may take %s to end: %v", stop, least, err)
	}
	if limit, chosen := one(t, unit, "Service.MemoryMax"), settings["GOMEMLIMIT"]; limit == "" || chosen != "" {
		t.Errorf("MemoryMax is %q, which the node finds, and GOMEMLIMIT is %q, which would hold instead", limit, chosen)
	}
}

func TestSystemdTakesTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not installed: the unit is decoded by the other test only")
		return
	}
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	// A program that is installed everywhere stands for the one that is not.
	unit := filepath.Join(t.TempDir(), "wsnode.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/wsnode", "/bin/true")), 0o644); err != nil {
		t.Fatal(err)
	}
	// What it does not know it says, and succeeds all the same.
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=15", unit).CombinedOutput()
	if err != nil {
		t.Errorf("exposed more than 1.5 of 10: %v\n%s", err, out)
	}
}
