// The best complete point within the limits and a sentence about it, by the rules of recommend.py.
depthweave.recommendation = (data, access) => {
  "use strict";
  const { points, columns, all, isComplete, valueOf } = access;

  // `limits` maps a column to [value, text]. Returns the point, or -1, and the sentence.
  function recommend(limits) {
    const named = Object.entries(limits);
    const meetsAll = (point) => named.every(([name, limit]) => valueOf(name, point) !== null && valueOf(name, point) <= limit[0]);
    const loss = (point) => points.values[data.quality.column]?.[point] ?? Infinity;
    const candidates = all.filter((point) => isComplete(point) && meetsAll(point));
    candidates.sort((a, b) => loss(a) - loss(b) || points.trial[a] - points.trial[b]);
    if (!candidates.length) {
      return { best: -1, sentence: named.length ? "No complete trial meets these limits." : "No trial is complete yet." };
    }
    const best = candidates[0];
    const conditions = named.map(([name, limit]) => `${columns[name].short} at most ${limit[1]}`).join(" and ");
    const where = conditions ? ` with ${conditions}` : " without limits";
    return { best, sentence: `Lowest ${data.quality.word}${where}: ${points.recommendation[best]}. ${certainty(best, candidates)}` };
  }

  function certainty(best, candidates) {
    if (points.uncertainty[best]) return `Not settled: ${points.uncertainty[best]}.`;
    const close = new Set(data.close_rivals[best] ?? []);
    const rivals = candidates.filter((point) => point !== best && points.seeds[point] > 1);
    if (!rivals.length) return "Nothing else with several fresh seeds is within these limits.";
    const among = `the ${rivals.length} other${rivals.length === 1 ? "" : "s"} with several fresh seeds within these limits`;
    const names = rivals.filter((point) => close.has(point)).map((point) => points.full_name[point]);
    if (!names.length) return `Settled: of ${among}, none has a loss as low.`;
    const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
    return `Not settled: of ${among}, ${names.length} ${names.length === 1 ? "is" : "are"} not distinguishable from it in loss: ${names.slice(0, 3).join("; ")}${more}.`;
  }

  return recommend;
};
