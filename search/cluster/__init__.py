"""Ray on one machine or many: start, nodes, placement, and the code that workers import."""
