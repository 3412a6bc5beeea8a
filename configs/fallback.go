package configs

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/lpseal/lpseal/jobs"
)

// handoverEnv are the variables by which their operators name the software that proves.
var handoverEnv = map[jobs.HandoverTo]string{
	jobs.HandoverLotusMiner: "MINER_API_INFO",
	jobs.HandoverCurio:      "CURIO_API_INFO",
}

// fallBack fills what may be left out from the machine: the host name, the files by
// which lotus tells its API, and the variable of the one who proves.
func (l *Loaded) fallBack() *Problem {
	c := &l.Config
	if c.Host.ID == "" {
		name, err := os.Hostname()
		if c.Host.ID = slug(name); err != nil || c.Host.ID == "" {
			return &Problem{Key: "host.id", What: "the machine has no host name", Remedy: "give it a name of [a-z0-9-]{1,40}"}
		}
		l.origins["host.id"] = "host name"
	}
	if c.Chain.API == "" {
		if repo, info := lotusRepo(); info != "" {
			c.Chain.API, l.origins["chain.api"] = Secret(info), repo
		}
	}
	if name := handoverEnv[c.Handover.To]; c.Handover.API == "" && name != "" {
		if info := l.getenv(name); info != "" {
			c.Handover.API, l.origins["handover.api"] = Secret(info), name
		}
	}
	return nil
}

// slug makes a host name fit for queue names: its first label, lower case.
func slug(name string) string {
	name, _, _ = strings.Cut(strings.ToLower(name), ".")
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
	return strings.Trim(name[:min(len(name), 40)], "-")
}

// lotusRepo reads the address and token that a lotus daemon leaves in its repository.
func lotusRepo() (dir, info string) {
	dir = os.Getenv("LOTUS_PATH")
	if home, err := os.UserHomeDir(); dir == "" && err == nil {
		dir = filepath.Join(home, ".lotus")
	}
	api, err := os.ReadFile(filepath.Join(dir, "api"))
	if dir == "" || err != nil {
		return "", ""
	}
	info = strings.TrimSpace(string(api))
	if token, err := os.ReadFile(filepath.Join(dir, "token")); err == nil {
		info = strings.TrimSpace(string(token)) + ":" + info
	}
	return dir, info
}
