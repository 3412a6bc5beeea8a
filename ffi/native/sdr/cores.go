package sdr

import (
	"fmt"
	"strconv"
	"strings"
)

// parseCores reads a list of processors as Linux writes it, such as "0-3,8".
func parseCores(list string) (cores []int, err error) {
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err := strconv.Atoi(low)
		if err != nil {
			return nil, fmt.Errorf("list of processors %q: %w", list, err)
		}
		last, err := strconv.Atoi(high)
		if err != nil {
			return nil, fmt.Errorf("list of processors %q: %w", list, err)
		}
		for c := first; c <= last; c++ {
			cores = append(cores, c)
		}
	}
	return cores, nil
}

// worthStaying decides on counts of processors: those this thread was given, those there
// are, and those that share a cache. A smaller set was given on purpose, and where all
// share one cache there is nothing to gain.
func worthStaying(given, online, group int) bool {
	return given >= online && group > 0 && group < online
}
