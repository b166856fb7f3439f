// What the official library makes of Global Privacy Platform strings: JSON in, JSON out, one process for all.
// usage: node reference.mjs LIBRARY <REQUEST >ANSWER
// REQUEST: {"models": [{section: {field: value}}], "strings": [{"text": string, "fields": {section: [field]}}]}
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { GppModel } = await import(pathToFileURL(process.argv[2]));
const request = JSON.parse(readFileSync(0, "utf8"));

function encoded(sections) {
  const model = new GppModel();
  for (const [section, fields] of Object.entries(sections)) {
    for (const [field, value] of Object.entries(fields)) model.setFieldValue(section, field, value);
  }
  return model.encode();
}

function decoded({ text, fields }) {
  const model = new GppModel(text);
  const found = {};
  for (const [section, names] of Object.entries(fields)) {
    found[section] = Object.fromEntries(names.map((name) => [name, model.getFieldValue(section, name)]));
  }
  return { ids: model.getSectionIds(), fields: found };
}

const answer = { models: request.models.map(encoded), strings: request.strings.map(decoded) };
process.stdout.write(JSON.stringify(answer));
