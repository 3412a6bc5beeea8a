package filcrypto

import (
	"errors"
	"regexp"
	"strings"

	"github.com/lpseal/lpseal/jobs"
)

// signs are the library's words by which a fault's class is known, beside those of a
// shortage: it returns texts only. The first match counts; the order is from the machine
// to the sector.
var signs = []struct {
	words  *regexp.Regexp
	class  jobs.FaultClass
	remedy string
}{
	{words(`no cached parameters found|failure finding v28-|error reading cached parameters|missing parameters`), jobs.Busy, "fetch them: lpseal params fetch"},
	{words(`invalid parameters|digest .*does not match|error reading verifying key`), jobs.Busy, "see what is wrong: lpseal params check"},
	{words(`no cached srs key`), jobs.Busy, "fetch it: lpseal params fetch --aggregate"},
	// With their colons: every error of a file ends in "(os error 2)", and a path may have a GPU in its name.
	{words(`no working gpus|gpu ?(tools )?error:|(cuda|opencl3?) error:|gpu (call was aborted|accelerator is disabled)|no kernel is initialized|(device|platform) not found`), jobs.Busy, "see nvidia-smi"},
	{words(`permission denied|read-only file system|input/output error`), jobs.Busy, "look at the disk and the owner of the path"},
	{words(`expected .* at line|eof while parsing|invalid type|missing field|trailing characters|unknown variant`), jobs.Input, ""},
	{words(`invalid vanilla proof|generated proof was invalid|proof is invalid|invalid proof|comm_r.*(mismatch|match)|piece.*match|invalid all zero`), jobs.Input, ""},
}

func words(pattern string) *regexp.Regexp { return regexp.MustCompile(`(?i)` + pattern) }

// fault classifies an error of the library; a text nobody knows is of class
// otherwise. A fault, such as one of the data tree, keeps its own class.
func fault(err error, otherwise jobs.FaultClass) error {
	var known *jobs.Fault
	if err == nil || errors.As(err, &known) {
		return err
	}
	if text, _, cut := strings.Cut(err.Error(), "\n\nStack backtrace:"); cut {
		err = errors.New(text) // addresses of a stripped library tell nobody anything
	}
	if _, remedy := jobs.ShortageIn(err.Error()); remedy != "" {
		return jobs.Failf(jobs.Busy, "%w: %s", err, remedy)
	}
	for _, s := range signs {
		if !s.words.MatchString(err.Error()) {
			continue
		}
		if s.remedy == "" {
			return jobs.Failf(s.class, "%w", err)
		}
		return jobs.Failf(s.class, "%w: %s", err, s.remedy)
	}
	return jobs.Failf(otherwise, "%w", err)
}

// fileFault classifies an error of a file that this package itself opens.
func fileFault(err error) error {
	if err == nil {
		return nil
	}
	if f := jobs.SystemFault(err); f != nil {
		return f
	}
	return jobs.Failf(jobs.Transient, "%w", err)
}
