"""Codes in groups, against the tables of contents of ICD-9-CM written out."""

from __future__ import annotations

import pandas as pd
import pytest

from domains.tabular.mimic import codes

DIAGNOSES = {
    "001": "infectious", "0389": "infectious", "1398": "infectious", "1400": "neoplasms", "2399": "neoplasms", "2400": "endocrine",
    "2799": "endocrine", "2800": "blood", "2899": "blood", "2900": "mental", "319": "mental", "3200": "nervous", "3899": "nervous",
    "3900": "circulatory", "4599": "circulatory", "460": "respiratory", "51999": "respiratory", "5200": "digestive",
    "5799": "digestive", "5800": "genitourinary", "6299": "genitourinary", "630": "pregnancy", "67914": "pregnancy",
    "6800": "skin", "7099": "skin", "7100": "musculoskeletal", "7399": "musculoskeletal", "7400": "congenital", "7599": "congenital",
    "7600": "perinatal", "7799": "perinatal", "78000": "symptoms", "7999": "symptoms", "80000": "injury", "9999": "injury",
    "V4581": "supplementary", "V08": "supplementary", "E8889": "external", "E000": "external",
}  # fmt: skip
PROCEDURES = {
    "0066": "unclassified", "0139": "nervous", "0598": "nervous", "0601": "endocrine", "0799": "endocrine", "0809": "eye",
    "1699": "eye", "1733": "miscellaneous", "1801": "ear", "2099": "ear", "2101": "nose_mouth", "2999": "nose_mouth",
    "301": "respiratory", "3499": "respiratory", "3500": "cardiovascular", "3999": "cardiovascular", "400": "blood", "419": "blood",
    "4201": "digestive", "5499": "digestive", "5501": "urinary", "5999": "urinary", "600": "male_genital", "6499": "male_genital",
    "6501": "female_genital", "7199": "female_genital", "720": "obstetrical", "7599": "obstetrical", "7601": "musculoskeletal",
    "8499": "musculoskeletal", "850": "skin_breast", "8699": "skin_breast", "8703": "diagnostic_therapeutic",
    "9999": "diagnostic_therapeutic",
}  # fmt: skip


@pytest.mark.parametrize(("code", "chapter"), DIAGNOSES.items())
def test_diagnosis_chapters_at_their_ends(code: str, chapter: str) -> None:
    category = codes.diagnosis_categories(pd.Series([code]))
    assert category.tolist() == [code[:4] if code[0] == "E" else code[:3]]
    assert codes.diagnosis_chapters(category).tolist() == [chapter]


@pytest.mark.parametrize("code", ["", "12", "038.9", "A419", "123456", "V1", "E88", "V45812", None])
def test_what_is_no_icd9_diagnosis_has_no_category(code: str | None) -> None:
    category = codes.diagnosis_categories(pd.Series([code, "4280"]))
    assert category.isna().tolist() == [True, False]
    assert codes.diagnosis_chapters(category).isna().tolist() == [True, False]


@pytest.mark.parametrize(("code", "chapter"), PROCEDURES.items())
def test_procedure_chapters_at_their_ends(code: str, chapter: str) -> None:
    assert codes.procedure_chapters(pd.Series([code])).tolist() == [chapter]


@pytest.mark.parametrize("code", ["", "5", "36", "36.1", "0BH17EZ", "36155", None])
def test_what_is_no_icd9_procedure_has_no_chapter(code: str | None) -> None:
    assert codes.procedure_chapters(pd.Series([code, "3615"])).isna().tolist() == [True, False]


def test_ethnicities() -> None:
    given = {
        "WHITE": "WHITE", "WHITE - RUSSIAN": "WHITE", "BLACK/AFRICAN AMERICAN": "BLACK", "HISPANIC OR LATINO": "HISPANIC",
        "HISPANIC/LATINO - PUERTO RICAN": "HISPANIC", "ASIAN - CHINESE": "ASIAN", "MULTI RACE ETHNICITY": "OTHER", "OTHER": "OTHER",
        "UNKNOWN/NOT SPECIFIED": None, "UNABLE TO OBTAIN": None, "PATIENT DECLINED TO ANSWER": None,
    }  # fmt: skip
    found = codes.ethnicity_groups(pd.Series(list(given)))
    assert found.astype(object).where(found.notna(), None).tolist() == list(given.values())
    assert codes.ethnicity_groups(pd.Series([None, "ASIAN"])).isna().tolist() == [True, False]


def test_languages_and_values_that_v14_does_not_hold() -> None:
    found = codes.languages(pd.Series(["ENGL", "SPAN", None]))
    assert found[:2].tolist() == ["ENGLISH", "OTHER"] and found.isna().tolist() == [False, False, True]
    values, foreign = codes.published(pd.Series(["MARRIED", "UNKNOWN (DEFAULT)", "ENGAGED", None]), "MARITAL_STATUS")
    assert foreign == 1 and values.isna().tolist() == [False, True, False, True] and values[2] == "OTHER"
