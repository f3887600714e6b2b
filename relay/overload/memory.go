package overload

import (
	"bytes"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// MemoryLimit is what the process may use: the smaller of GOMEMLIMIT and
// CgroupMemory; zero when there is neither.
func MemoryLimit() int64 {
	limit := debug.SetMemoryLimit(-1)
	if cgroup := CgroupMemory(); cgroup > 0 {
		limit = min(limit, cgroup)
	}
	if limit >= unlimited {
		return 0
	}
	return limit
}

// unlimited is what stands for no limit: cgroups of the first version then say a very
// large number.
const unlimited = math.MaxInt64 >> 1

// CgroupMemory is the memory that the kernel leaves to the process, in bytes: the least
// that its control group, or one above it, sets, as containers and MemoryMax of systemd
// do. Zero when none of them does.
func CgroupMemory() int64 { return cgroupMemory(os.DirFS("/")) }

// cgroupMemory reads a file system that is rooted at /. See cgroups(7), and
// proc_pid_mountinfo(5).
func cgroupMemory(root fs.FS) int64 {
	limit := int64(unlimited)
	for _, mount := range memoryMounts(root) {
		// A container without a namespace of its own has a part of the hierarchy mounted,
		// or is somewhere that it cannot see: then the mount's own limit is all there is.
		below, inside := within(mount.root, mount.group)
		if !inside {
			below = "/"
		}
		for ; ; below = path.Dir(below) {
			name := strings.TrimPrefix(path.Join(mount.point, below, mount.file), "/")
			if text, err := fs.ReadFile(root, name); err == nil {
				limit = min(limit, parseMemory(text))
			}
			if below == "/" {
				break
			}
		}
	}
	if limit >= unlimited {
		return 0
	}
	return limit
}

// memoryMount is where a hierarchy that limits memory is mounted.
type memoryMount struct {
	root  string // of the hierarchy, what is mounted
	point string // where
	group string // of the hierarchy, the process's
	file  string // that holds the limit of a group
}

// memoryMounts finds the hierarchies of the process: that of version 2, and that of the
// memory controller of version 1. A hybrid system has both.
func memoryMounts(root fs.FS) (mounts []memoryMount) {
	unified, memory := ownGroups(root)
	text, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		// 36 35 98:0 ROOT POINT OPTIONS… - TYPE SOURCE OPTIONS
		fields := strings.Fields(line)
		dash := slices.Index(fields, "-")
		if dash < 6 || len(fields) < dash+4 {
			continue
		}
		m := memoryMount{root: unescape(fields[3]), point: unescape(fields[4])}
		switch options := strings.Split(fields[dash+3], ","); {
		case fields[dash+1] == "cgroup2" && unified != "":
			m.group, m.file = unified, "memory.max"
		case fields[dash+1] == "cgroup" && slices.Contains(options, "memory") && memory != "":
			m.group, m.file = memory, "memory.limit_in_bytes"
		default:
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// ownGroups are the process's groups in the hierarchy of version 2 and in that of the
// memory controller, empty if there is none.
func ownGroups(root fs.FS) (unified, memory string) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(text)) {
		// ID:CONTROLLERS:GROUP
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) < 3:
		case fields[0] == "0" && fields[1] == "":
			unified = fields[2]
		case slices.Contains(strings.Split(fields[1], ","), "memory"):
			memory = fields[2]
		}
	}
	return unified, memory
}

// within returns the rest of a path below another one.
func within(above, p string) (below string, ok bool) {
	if above == "/" {
		return path.Clean("/" + p), !strings.HasPrefix(p, "/..")
	}
	rest, ok := strings.CutPrefix(p, above)
	return path.Clean("/" + rest), ok && (rest == "" || rest[0] == '/')
}

// unescape reads a path of mountinfo, which has white space in octal.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func parseMemory(text []byte) int64 {
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil || n <= 0 {
		return math.MaxInt64 // "max"
	}
	return n
}
