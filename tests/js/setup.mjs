// Numbers that a file or a request becomes: reads a list of jobs in JSON, writes their results, integers as text.

import { text } from "node:stream/consumers";

import { Rational, inverseRoot, makeGain, makeSampling, rotation, scoreScale } from "../../js/src/setup.js";

const jobs = JSON.parse(await text(process.stdin));
const answers = {
  rotation: ({ base, width, divisors, factor }) =>
    rotation(base, width, divisors && Float32Array.from(divisors), Rational.shown(factor ?? 1)),
  gain: ({ values, eps }) => {
    const { factor, exponent, epsilon } = makeGain(Float32Array.from(values), eps, "gain");
    return [...factor, exponent, epsilon];
  },
  scale: ({ width }) => Object.values(scoreScale(inverseRoot(width))),
  root: ({ width }) => [inverseRoot(width)],
  exact: ({ value }) => [Rational.exact(value)],
  sampling: (parameters) => makeSampling(parameters),
};
console.log(JSON.stringify(jobs.map(({ op, ...job }) => Array.from(answers[op](job), String))));
