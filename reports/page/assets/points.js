// Values of the points, the front of two of their columns, and the range of an axis. A point is an index into the lists.
depthweave.pointData = (data) => {
  "use strict";
  const { padded } = depthweave;
  const points = data.points;
  const columns = Object.fromEntries(data.columns.map((column) => [column.name, column]));
  const all = points.trial.map((_, point) => point);
  const isComplete = (point) => points.state[point] === "complete";
  const valueOf = (name, point) => points.values[name][point];
  const inUnit = (name, value) => value / columns[name].divisor;

  // The complete points that no other one matches in both columns and beats in one, from left to right.
  function frontOf(candidates, { x, y }) {
    const sorted = candidates.filter(isComplete)
      .sort((a, b) => valueOf(x, a) - valueOf(x, b) || valueOf(y, a) - valueOf(y, b));
    const front = [];
    let lowestY = Infinity, itsX = NaN;
    for (const point of sorted) {
      const xValue = valueOf(x, point), yValue = valueOf(y, point);
      if (yValue < lowestY || (yValue === lowestY && xValue === itsX)) {
        front.push(point);
        lowestY = yValue;
        itsX = xValue;
      }
    }
    return front;
  }

  // The range of the complete points and of the front's intervals. Stopped points beyond it are drawn at the edge.
  function rangeOf(name, shown, { log, front }) {
    const complete = shown.filter(isComplete), base = complete.length ? complete : shown;
    const values = base.map((point) => valueOf(name, point));
    for (const point of front) for (const side of ["low", "high"]) {
      const end = points[side][name]?.[point];
      if (end) values.push(end);
    }
    if (!values.length) return padded({ low: log ? 1 : 0, high: log ? 10 : 1, log });
    const low = Math.min(...values), high = Math.max(...values);
    const highest = Math.max(...shown.map((point) => valueOf(name, point)), high);
    const end = Math.min(highest, high + 0.35 * (high - low || Math.abs(high) * 0.1));
    return padded({ low: inUnit(name, low), high: inUnit(name, end), log });
  }

  return { points, columns, all, isComplete, valueOf, inUnit, frontOf, rangeOf };
};
