// Package layout holds the test of lpseal's import directions.
package layout
