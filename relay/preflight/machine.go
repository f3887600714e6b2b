package preflight

import (
	"context"
	"math"
	"runtime/debug"

	"github.com/wsnode/wsnode/relay/overload"
)

// Machine is what a process may use, and what it is told that it may.
type Machine struct {
	Files        int   // file descriptors; 0 if the system does not tell
	Cgroup       int64 // memory that its control groups leave to it; 0: no limit
	GoMemory     int64 // GOMEMLIMIT; 0: none
	Connections  int   // --max-connections; 0: any number
	MemorySet    int64 // --max-memory-bytes; 0: by Cgroup, negative: any amount
	MemoryChosen bool  // GoMemory is from the environment
}

// ThisMachine is that of this process.
func ThisMachine() Machine {
	m := Machine{Files: overload.NewDescriptors().Most(), Cgroup: overload.CgroupMemory()}
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		m.GoMemory = limit
	}
	return m
}

// What a node can do something with.
const (
	fewestFiles = 4096
	goodFiles   = 16384
	spareFiles  = 256 // beside those of clients: NATS, issuers, probes, the store
	leastMemory = 256 << 20
)

// Check looks at the limits of the process.
func (m Machine) Check(context.Context) []Finding {
	r := &report{}
	m.files(r)
	m.memory(r)
	return r.findings
}

func (m Machine) files(r *report) {
	const mend = "raise it: LimitNOFILE= of the systemd unit, ulimit -n, or the container runtime's limit of open files (nofile); 1048576 costs nothing"
	need := m.Connections + spareFiles
	switch {
	case m.Files == 0:
		r.add("files", Unknown, "see how many files the process may open", "this system does not tell")
		return
	case m.Connections > 0 && m.Files < need:
		r.add("files", Wrong, mend, "the process may open %d files, and --max-connections %d needs %d", m.Files, m.Connections, need)
	case m.Files < fewestFiles:
		r.add("files", Wrong, mend, "the process may open %d files: each client takes one, and from 80 %% on the node takes no new ones", m.Files)
	case m.Files < goodFiles:
		r.add("files", Weak, mend, "the process may open %d files: each client takes one, and from 80 %% on the node takes no new ones", m.Files)
	default:
		r.add("files", OK, "", "the process may open %d", m.Files)
	}
	r.measured(map[string]float64{"files": float64(m.Files)})
}

func (m Machine) memory(r *report) {
	const mend = "set the container's memory limit, MemoryMax= of the systemd unit, or --max-memory-bytes"
	ceiling := m.Cgroup
	if m.GoMemory > 0 && (ceiling == 0 || m.GoMemory < ceiling) {
		ceiling = m.GoMemory
	}
	if m.MemorySet > 0 {
		ceiling = m.MemorySet
	}
	switch {
	case m.Cgroup > 0 && m.MemorySet > m.Cgroup:
		r.add("memory", Wrong, "lower it, or raise the limit", "--max-memory-bytes is %s, and the kernel ends the process at %s", bytesText(m.MemorySet), bytesText(m.Cgroup))
	case m.Cgroup > 0 && m.MemoryChosen && m.GoMemory > m.Cgroup:
		r.add("memory", Wrong, "set it to 90 % of the limit, or not at all", "GOMEMLIMIT is %s, and the kernel ends the process at %s", bytesText(m.GoMemory), bytesText(m.Cgroup))
	case ceiling == 0:
		r.add("memory", Weak, mend, "there is no limit: the node does not know when it is overloaded")
	case ceiling < leastMemory:
		r.add("memory", Weak, mend, "%s are little: one large document can fill them", bytesText(ceiling))
	default:
		r.add("memory", OK, "", "%s", bytesText(ceiling))
	}
	r.measured(map[string]float64{"bytes": float64(ceiling)})
}
